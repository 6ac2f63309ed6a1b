#pragma once
// Walks over fields, and the words that describe one. Internal to the configuration.

#include <functional>
#include <string>
#include <vector>

#include "base/config.h"

namespace lacuna {

enum class Lists {
  kEntries,    // as many as there are: objective.0.weight, objective.1.weight
  kPrototype,  // one that stands for all: objective.N.weight
};

// Calls `see(key, field, may_change)` for every field, table and list, outer before inner, in declared order. A field
// is alive during the call alone.
void each_field(const Fields& fields, Lists lists, const std::string& prefix,
                const std::function<void(const std::string&, const ConfigField&, bool)>& see);

// "a number from 0 to 1", "auto or a list of 2 whole numbers, each of at least 1 (pixels)".
std::string expected(const ConfigField& field);
std::string range_of(const FieldInfo& info);                      // "from 0 to 1"; empty without bounds
std::string type_of(const ConfigField& field);                    // "number", "list of numbers", "auto | path"
std::vector<std::string> choice_names(const ConfigField& field);  // of an enum

}  // namespace lacuna
