#pragma once
// A Vit in a file of another program: which family's names it bears (nn/weights/families), its sizes as the shapes of
// those tensors tell them, and the rules that bring the tensors over.

#include <optional>
#include <string>

#include "nn/classifier.h"
#include "nn/weights/families.h"
#include "nn/weights/weights.h"

namespace lacuna {

// A family bound to a file.
struct NamedVit {
  const Family* family = nullptr;
  std::string prefix;
};

bool bears_marks(const TensorFile& file, const NamedVit& named);

// The first of vit_families() whose marks the file bears; nothing when there is none.
std::optional<NamedVit> recognize(const TensorFile& file);

// For a file of no family: the one that shares the most names with it, and one of its marks that the file lacks.
// Nothing when no name is shared.
struct NearFamily {
  const Family* family = nullptr;
  std::string missing;
};
std::optional<NearFamily> nearest_family(const TensorFile& file);

// About how many numbers such a network holds; for check_plausible.
double about_parameters(const VitConfig& vit);

// What names and shapes tell. Activation and epsilon they do not; heads are 0 without a bias table that shows them, and
// image_side is 0 where no table shows the grid.
struct VitMeasures {
  VitConfig vit;
  ClassifierConfig head;
  int64_t embed = 0;               // K of the projection; 0 without one
  bool embed_bias = false;         // the projection has a bias
  bool positions_of_class = true;  // false where the position table has rows for patches only
  bool known_head = true;          // false where the classification head does not take one token's width
};
VitMeasures measure(const TensorFile& file, const NamedVit& named);

// Adds the rules that rows stand for, with {i} counting `depth` blocks.
void add_rows(KeyMap& map, const std::vector<NameRow>& rows, const std::string& prefix, const VitConfig& vit,
              int64_t depth);

// The rules of the family for a network of this size. Rules for tensors outside `destination` are left out.
KeyMap key_map(const NamedVit& named, const VitConfig& vit, const NamedTensors& destination);

}  // namespace lacuna
