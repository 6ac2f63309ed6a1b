#pragma once
// What a file or folder of weights is, for people who look into it: gathered without building a network of a size that
// the file could not fill, and without an Error for what does not open.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/vit.h"
#include "nn/weights/preprocessing.h"

namespace lacuna {

// One way of using the weights. `why_not` is empty where they open that way.
struct ModelUse {
  std::string name;
  std::string why_not;
};

struct ModelFacts {
  std::string family;                     // empty where no family's names were recognised
  std::filesystem::path weights;          // the file that was looked into
  std::string format;                     // its container: "safetensors"
  int64_t tensors = 0, elements = 0;      // in the file
  std::map<std::string, int64_t> dtypes;  // number of tensors of each

  std::optional<VitConfig> vit;  // of the vision transformer in it, where there is one that opens
  int64_t parameters = 0;        // of that network
  int64_t projected = 0;         // width of the space it is projected into; 0 without projection
  std::optional<Preprocessing> pixels;

  std::vector<ModelUse> uses;
  std::vector<std::string> notes;  // what nothing said and had to be assumed
  std::vector<std::pair<std::string, std::string>>
      unneeded;  // (tensor, why the vision transformer lacks nothing by it)
};

// Throws Error where the path leads to no file of weights, or the container itself is damaged; everything that a
// readable file then says wrongly is in `uses`.
ModelFacts look_into(const std::filesystem::path& path);

}  // namespace lacuna
