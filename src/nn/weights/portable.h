#pragma once
// A network on its way to other programs: its tensors under the names of nn/weights/families, whoever trained it, what
// no tensor tells, and the rewritings that leave what it computes as it is. Writers of folders
// (nn/weights/export_folder.h) start from it.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/image/framing.h"
#include "nn/backbone.h"
#include "nn/classifier.h"

namespace lacuna {

struct PortableVit {
  VitConfig vit;
  ClassifierConfig head;  // classes 0, pool by the class token and no norm where there is no classifier
  int64_t embed = 0;      // K of CLIP's projection; 0 without one
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  Framing framing = {};
  NamedTensors tensors;  // "vit.…" with fixed positions, "projection.weight", "fc_norm.…", "head.…", "attention_pool.…"
  std::optional<BackboneConfig> own;  // of a network of ours: what an export keeps beside timm's words
  std::vector<std::string> labels;    // of the classes; empty where they have none
  std::vector<std::string> notes;     // what had to be assumed when it was opened
};

PortableVit portable(const Backbone& backbone);

// Anything that opens as a frozen ViT, with its classifier unless `with_head` is false.
PortableVit open_portable(const std::filesystem::path& path, bool with_head = true);

// ---- Rewritings that keep the function -------------------------------------------------------------------------

// Fixed positions become a table of numbers, no positions a table of zeros.
void learn_positions(PortableVit& net);
// Classifier, pooling and projection go.
void drop_head(PortableVit& net);
// Zeros for the biases of query, key and value that are not there.
void fill_attention_bias(PortableVit& net);
void fill_patch_bias(PortableVit& net);
// A bias of the patches moves into their learned positions. Equal up to rounding.
void move_patch_bias(PortableVit& net);
// The class token takes in its position, and the table is left with those of the patches. Equal up to rounding.
void move_class_position(PortableVit& net);
// CLIP's projection becomes a classifier with zeros for its bias, as timm keeps it.
void make_projection_head(PortableVit& net);
// Ones where there is no layer scale.
void fill_layer_scale(PortableVit& net);
// The key's bias goes: it adds the same number to all scores of a query, which softmax cancels. Equal up to rounding.
void drop_key_bias(PortableVit& net);

// Why no writer of folders has a place for a part of this network; empty where each part has one somewhere.
std::string why_not_plain(const VitConfig& vit);

}  // namespace lacuna
