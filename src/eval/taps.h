#pragma once
// Which features of a network are wanted, and taking them in one pass.

#include <optional>
#include <string>
#include <vector>

#include "nn/frozen_vit.h"

namespace lacuna {

enum class Feature {
  kClass,      // the class token [D]
  kMean,       // the mean of the patch tokens [D]
  kPatches,    // the patch tokens [N,D], raster order
  kProjected,  // a CLIP's embedding of the image [K]: the class token after the final norm, through the projection,
               // whatever layers are asked for
};

struct Tap {
  std::string name;  // "class"; with several layers "class.last", "class.3"
  Feature feature = Feature::kClass;
  std::optional<int64_t> block;  // after this one, -1: the input of the first; none: after the final norm
  std::vector<int64_t> shape;    // of one image's
};

// `features`: class, mean, patches, projected, by commas; empty is the class token, or the mean where there is none.
// `layers`: `last` (after the final norm), the output of block N counted from 1 (0: the input of the first block;
// negative: counted from the last block, -1), `all` (1 to the depth), by commas. Throws Error for anything else, for a
// feature that this network does not have, and for one that is asked for twice.
std::vector<Tap> choose_taps(const FrozenVit& model, const std::string& features, const std::string& layers);

// images [B,3,S,S] -> one [B,…] for each tap, in the order of the taps. No gradient.
std::vector<at::Tensor> take(const FrozenVit& model, const at::Tensor& images, const std::vector<Tap>& taps);

}  // namespace lacuna
