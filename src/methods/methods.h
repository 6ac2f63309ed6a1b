#pragma once
// The table of methods: the only place that lists them. A method is a preset over shared parts.

#include <span>
#include <string>
#include <string_view>

#include "methods/recipe.h"

namespace lacuna {

struct MethodRow {
  std::string_view name;
  std::string_view title;
  std::string_view cells;  // mask | encode | complete | teacher -> normalize @ region -> head -> loss
  std::string_view source;
  Preset preset;
};

std::span<const MethodRow> methods();

// Throws Error with the nearest name for one that is not in the table.
const MethodRow& method(std::string_view name);

// The defaults of a method for a student size.
Recipe recipe_of(std::string_view method_name, std::string_view size);

}  // namespace lacuna
