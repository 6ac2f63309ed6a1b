#pragma once
// What a method has an opinion on: its composition, how it is trained and how images are augmented.

#include "mim/composition.h"
#include "train/config.h"

namespace lacuna {

struct Recipe {
  Composition composition;
  TrainConfig train;
  AugmentConfig augment;

  void fields(Fields& f);
};

}  // namespace lacuna
