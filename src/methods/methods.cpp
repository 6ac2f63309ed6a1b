#include "methods/methods.h"

#include "base/error.h"
#include "base/suggest.h"
#include "methods/presets.h"

namespace lacuna {
namespace {

constexpr MethodRow kMethods[] = {
    {"cae_v2", "CAE v2: context autoencoder with CLIP latent alignment",
     "block-wise | visible only | cross-attention regressor | frozen CLIP, projected -> unit @ class, visible, masked "
     "-> norm + linear -> cosine",
     "Zhang et al., arXiv 2211.09799; official code at Atten4Vis/CAE", preset_cae_v2},
    {"clip", "CLIP: image-text contrast, both towers from scratch",
     "none | all patches | - | captions -> text tower @ class -> projection -> contrast over the batch",
     "Radford et al., arXiv 2103.00020", preset_clip},
};

}  // namespace

std::span<const MethodRow> methods() { return kMethods; }

const MethodRow& method(std::string_view name) {
  std::vector<std::string> known;
  for (const MethodRow& row : kMethods) {
    if (row.name == name) return row;
    known.emplace_back(row.name);
  }
  std::string list;
  for (const std::string& each : known) list += (list.empty() ? "" : ", ") + each;
  const auto close = nearest(std::string(name), known);
  fail("method: no method named '", name, "'; the table has ", list, close ? "; did you mean " + *close + "?" : "");
}

Recipe recipe_of(std::string_view method_name, std::string_view size) {
  Recipe recipe;
  recipe.composition.student.vit = named_vit(size);
  method(method_name).preset(size, recipe);
  return recipe;
}

}  // namespace lacuna
