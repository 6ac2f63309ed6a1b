#include "methods/recipe.h"

namespace lacuna {

void Recipe::fields(Fields& f) {
  composition.fields(f);
  f.table("augment", augment, {.help = "how samples are varied"});
  f.table("train", train, {.help = "length, batch and learning rate"});
}

}  // namespace lacuna
