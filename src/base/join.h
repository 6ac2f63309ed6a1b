#pragma once

#include <string>

#include "base/error.h"

namespace lacuna {

// The values one after the other, as text() writes each.
template <class Range>
std::string joined(const Range& values, const std::string& between = ", ") {
  std::string out;
  bool first = true;
  for (const auto& value : values) {
    if (!first) out += between;
    out += text(value);
    first = false;
  }
  return out;
}

}  // namespace lacuna
