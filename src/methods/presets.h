#pragma once
// One preset per method, each in its own file.

#include "methods/recipe.h"

namespace lacuna {

void preset_cae_v2(std::string_view size, Recipe& recipe);
void preset_clip(std::string_view size, Recipe& recipe);

}  // namespace lacuna
