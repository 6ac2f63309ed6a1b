#pragma once
// Vision transformers trained elsewhere, read from files: the teachers and the baselines. A folder or a file is
// understood by what it holds (names and shapes of tensors, config.json beside them), not by its name: the families are
// the tables of nn/weights/vit_names.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/classifier.h"
#include "nn/position.h"
#include "nn/relative_bias.h"
#include "nn/weights/preprocessing.h"

namespace lacuna {

struct FrozenVit {
  Vit vit{nullptr};
  Linear projection{nullptr};  // CLIP's matrix into the common space, weight [K,D]; null in other families
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  Framing framing = {};
  std::string family;
  std::filesystem::path path;      // the file of the weights
  std::vector<std::string> notes;  // what the file does not say and had to be assumed, for reports

  int64_t embed() const { return projection ? projection->weight.size(0) : vit->config().width; }
};

// What may be asked of a network beyond what its file says.
struct OpenAs {
  std::optional<int64_t> image_side = {};  // another one than the file's resizes the tables of positions
  PositionResize positions = PositionResize::kByScale;
  BiasResize biases = BiasResize::kSpline;
  std::optional<Activation> activation = {};  // in place of the configuration's
};

// Opens CLIP (transformers, OpenAI, OpenCLIP), SigLIP, DINOv2, ViT, BEiT, EVA (transformers and timm), CAE's encoder,
// or our own export, checkpoint or run. Strict: every tensor is used or known and unneeded, every size in a
// configuration agrees with the tensors; otherwise Error says which does not. A path may be a name in the Hugging Face
// cache (nn/weights/hub_cache). The network comes in float32, on the CPU, in evaluation mode.
FrozenVit open_frozen_vit(const std::filesystem::path& path, const OpenAs& how);
FrozenVit open_frozen_vit(const std::filesystem::path& path, std::optional<int64_t> image_side = {},
                          PositionResize how = PositionResize::kByScale);

// The same with its pooling and classification head, at its own size: pre-logits and logits as timm and transformers
// give them.
struct FrozenClassifier {
  Classifier model{nullptr};
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  Framing framing = {};
  std::string family;
  std::vector<std::string> labels;  // of the classes; empty where they have none
  std::vector<std::string> notes;
};
FrozenClassifier open_classifier(const std::filesystem::path& path);

}  // namespace lacuna
