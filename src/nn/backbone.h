#pragma once
// A trained ViT that stands alone: what an export folder holds and what evaluation loads.

#include <array>
#include <filesystem>
#include <string>

#include "base/config.h"
#include "io/image/pixel_stats.h"
#include "io/image/resize.h"
#include "nn/vit.h"
#include "nn/weights/weights.h"

namespace lacuna {

inline constexpr Named<Kernel> kKernels[] = {{Kernel::kBicubic, "bicubic"},
                                             {Kernel::kBilinear, "bilinear"},
                                             {Kernel::kLanczos, "lanczos"},
                                             {Kernel::kBox, "box"},
                                             {Kernel::kHamming, "hamming"}};

// The network and the pixels it expects.
struct BackboneConfig {
  VitConfig vit;
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;

  void fields(Fields& f);
};

// Our exact configuration of an exported network.
inline constexpr const char* kOwnConfig = "lacuna.json";

struct Backbone {
  BackboneConfig config;
  Vit vit{nullptr};
  std::string origin;  // what was opened, for reports
};

// Writes `folder` so that timm opens it by create_model("local-dir:FOLDER", pretrained=True): model.safetensors with
// timm's names and config.json. lacuna.json beside them keeps our exact configuration. Returns an empty string, or why
// timm cannot express this network (config.json is then left out).
std::string write_backbone(const std::filesystem::path& folder, const Vit& vit, const BackboneConfig& config);

// The network under our own names: model.safetensors and lacuna.json. Throws Error for one with a classifier or a
// projection, which have no place there.
struct PortableVit;
void write_plain_backbone(const std::filesystem::path& folder, const PortableVit& net,
                          at::ScalarType dtype = at::kFloat);

// The state of a checkpoint carries the configuration under "backbone" and the tensors under this prefix.
inline constexpr const char* kCheckpointVit = "model.student.vit.";

// Whether the path is a run, a checkpoint or an export of this program.
bool is_our_own(const std::filesystem::path& path);

// Opens a folder written by write_backbone, a checkpoint folder, a run folder (its export, else its newest checkpoint)
// or whatever opens as a frozen ViT (without projection and classifier). Throws Error that says what was looked for and
// what was found.
Backbone open_backbone(const std::filesystem::path& path);

// The network with the same configuration and freshly initialised weights: the baseline of every evaluation.
Backbone random_like(const Backbone& backbone, uint64_t seed);

}  // namespace lacuna
