#include "train/param_groups.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

// The number in "<list>.<number>.…".
std::optional<std::int64_t> place_in(std::string_view list, std::string_view name) {
  if (!name.starts_with(list) || !name.substr(list.size()).starts_with('.')) return std::nullopt;
  const std::string_view digits = name.substr(list.size() + 1);
  std::int64_t place = 0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), place);
  const bool whole = fault == std::errc{} && end != digits.data() + digits.size() && *end == '.';
  return whole ? std::optional(place) : std::nullopt;
}

bool makes_first_tokens(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('.'));
  return first == "cls_token" || first == "reg_token" || first == "mask_token" || first == "pos_embed" ||
         first == "patch_embed";
}

}  // namespace

std::int64_t layer_id(const std::string& name, std::int64_t depth, BiasTables tables) {
  if (makes_first_tokens(name)) return 0;
  auto block = place_in("blocks", name);
  if (!block && tables == BiasTables::kOneEach) block = place_in("relative_biases", name);
  if (!block) return depth + 1;
  invariant(*block >= 0 && *block < depth, name, " in a network of ", depth, " blocks");
  return *block + 1;
}

double layer_scale(std::int64_t id, std::int64_t depth, double decay) {
  invariant(id >= 0 && id <= depth + 1, "layer ", id, " of a network of ", depth, " blocks");
  return std::pow(decay, static_cast<double>(depth + 1 - id));
}

LrScale layer_decay(std::string vit_prefix, std::int64_t depth, double decay, BiasTables tables) {
  return [=, prefix = std::move(vit_prefix)](const std::string& name) {
    if (!name.starts_with(prefix)) return 1.0;
    return layer_scale(layer_id(name.substr(prefix.size()), depth, tables), depth, decay);
  };
}

}  // namespace lacuna
