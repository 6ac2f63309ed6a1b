#pragma once
// What a method has an opinion on: its composition, how it is trained and how images are augmented.

#include <string_view>

#include "mim/composition.h"
#include "train/config.h"

namespace lacuna {

struct Recipe {
  Composition composition;
  TrainConfig train;
  AugmentConfig augment;
};

// Fills `recipe` for a student of this size ("micro", "tiny", "small", "base", "large").
using Preset = void (*)(std::string_view size, Recipe& recipe);

}  // namespace lacuna
