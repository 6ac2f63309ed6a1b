#pragma once
// A network on its way to other programs: its tensors under the names of nn/families, whoever trained it, what no
// tensor tells, and the rewritings that leave what it computes as it is. Writers of folders (nn/export_folder.h) start
// from it.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nn/backbone.h"
#include "nn/classifier.h"
#include "nn/families.h"

namespace lacuna {

struct PortableVit {
  VitConfig vit;
  ClassifierConfig head;  // classes 0, pool by the class token and no norm where there is no classifier
  int64_t embed = 0;      // K of CLIP's projection; 0 without one
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  NamedTensors tensors;  // "vit.…" with fixed positions, "projection.weight", "fc_norm.…", "head.…", "attention_pool.…"
  std::optional<BackboneConfig> own;  // of a network of ours: what an export keeps beside timm's words
  std::vector<std::string> notes;     // what had to be assumed when it was opened
};

PortableVit portable(const Backbone& backbone);

// Anything that opens as a frozen ViT, with its classifier unless `with_head` is false.
PortableVit open_portable(const std::filesystem::path& path, bool with_head = true);

// ---- Rewritings that keep the function -------------------------------------------------------------------------

// Fixed positions become a table of numbers, no positions a table of zeros.
void learn_positions(PortableVit& net);
// Zeros for the biases of query, key and value that are not there.
void fill_attention_bias(PortableVit& net);
void fill_patch_bias(PortableVit& net);
// Ones where there is no layer scale.
void fill_layer_scale(PortableVit& net);
// The key's bias goes: it adds the same number to all scores of a query, which softmax cancels. Equal up to rounding.
void drop_key_bias(PortableVit& net);

// Why no writer of folders has a place for a part of this network; empty where each part has one somewhere.
std::string why_not_plain(const VitConfig& vit);

// ---- Names -----------------------------------------------------------------------------------------------------

// How one program writes a family's tensors. Of several rows for one tensor of ours the first counts whose names hold
// none of `without`.
struct Dialect {
  const Family* family;
  std::string prefix;  // for {p}
  std::vector<std::string> without = {};
};

const Family& family_called(const std::string& name);  // among vit_families()

// timm's: its ViT, and its BEiT for networks with a relative position bias.
Dialect timm_dialect(const VitConfig& vit);

// The rules of a dialect for the tensors that are there. `prefix` stands before a Vit's tensors among `source`.
KeyMap names_in(const Dialect& dialect, const VitConfig& vit, const NamedTensors& source);

// All tensors under the dialect's names, in alphabetic order. Throws Error for one that it has no name for; `target` is
// whose names they are.
NamedTensors named_in(const Dialect& dialect, const PortableVit& net, const std::string& target);

}  // namespace lacuna
