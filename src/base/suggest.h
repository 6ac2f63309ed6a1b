#pragma once
// "Did you mean …?": the known names nearest to one that was mistyped.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lacuna {

// Insertions, deletions, replacements and swaps of neighbours that turn one into the other (optimal string alignment).
// Compares the first 64 bytes only, so the cost is bounded whatever a user typed.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate at the smallest distance, the first of equals; empty when none is close (more than a third of the
// letters differ).
std::optional<std::string> nearest(std::string_view name, std::span<const std::string> candidates);

}  // namespace lacuna
