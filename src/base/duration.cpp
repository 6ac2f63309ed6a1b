#include "base/duration.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

using Unit = Duration::Unit;

constexpr double kLargest = 1e15;  // below 2^53, so that whole amounts are exact

constexpr std::array<std::pair<std::string_view, Unit>, 9> kSpellings = {{{"step", Unit::kSteps},
                                                                          {"steps", Unit::kSteps},
                                                                          {"epoch", Unit::kEpochs},
                                                                          {"epochs", Unit::kEpochs},
                                                                          {"ep", Unit::kEpochs},
                                                                          {"%", Unit::kPercent},
                                                                          {"percent", Unit::kPercent},
                                                                          {"sample", Unit::kSamples},
                                                                          {"samples", Unit::kSamples}}};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes "k" or "M" off the front of `unit` when it stands alone or before a space: "10k steps", "1.5 M samples".
double take_factor(std::string_view& unit) {
  const bool alone = unit.size() == 1 || (unit.size() > 1 && (unit[1] == ' ' || unit[1] == '\t'));
  if (!alone || (unit[0] != 'k' && unit[0] != 'K' && unit[0] != 'M')) return 1;
  const double factor = unit[0] == 'M' ? 1e6 : 1e3;
  unit = trim(unit.substr(1));
  return factor;
}

std::optional<Unit> unit_named(std::string_view name) {
  for (const auto& [spelling, unit] : kSpellings) {
    if (spelling == name) return unit;
  }
  return std::nullopt;
}

std::string print(double amount) {
  std::array<char, 64> digits;
  const auto [end, fault] = std::to_chars(digits.data(), digits.data() + digits.size(), amount);
  invariant(fault == std::errc{}, "a duration of too many digits");
  return {digits.data(), end};
}

}  // namespace

std::optional<Duration> Duration::of(double amount, Unit unit) {
  const bool counted = unit == Unit::kSteps || unit == Unit::kSamples;
  const bool valid = amount >= 0 && amount <= kLargest && (!counted || amount == std::floor(amount));
  return valid ? std::optional(Duration{amount, unit}) : std::nullopt;
}

std::optional<Duration> Duration::parse(std::string_view text, std::optional<Unit> bare) {
  text = trim(text);
  double number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc{}) return std::nullopt;
  std::string_view rest = trim(text.substr(static_cast<std::size_t>(end - text.data())));
  const double factor = take_factor(rest);
  const std::optional<Unit> named = rest.empty() ? bare : unit_named(rest);
  if (!named) return std::nullopt;
  // 1.1 M is meant as 1100000, which 1.1 * 1e6 misses by a rounding.
  const double amount = factor == 1 ? number : std::round(number * factor * 1e3) / 1e3;
  return of(amount, *named);
}

std::int64_t Duration::resolve(std::int64_t steps_per_epoch, std::int64_t batch, std::int64_t total_steps) const {
  check(unit != Unit::kPercent || total_steps > 0, "a duration of ", str(),
        " is a share of a run whose length is not known: give it in steps, epochs or samples");
  invariant(unit != Unit::kEpochs || steps_per_epoch > 0, "an epoch of ", steps_per_epoch, " steps");
  invariant(unit != Unit::kSamples || batch > 0, "a batch of ", batch, " samples");
  double steps = amount;
  if (unit == Unit::kEpochs) steps = amount * static_cast<double>(steps_per_epoch);
  if (unit == Unit::kPercent) steps = amount / 100 * static_cast<double>(total_steps);
  if (unit == Unit::kSamples) steps = std::ceil(amount / static_cast<double>(batch));
  check(steps <= kLargest, "a duration of ", str(), " is more than ", print(kLargest), " steps");
  return amount > 0 ? std::max<std::int64_t>(1, std::llround(steps)) : 0;
}

std::string Duration::str() const {
  std::array<char, 400> digits;
  const auto [end, fault] =
      std::to_chars(digits.data(), digits.data() + digits.size(), amount, std::chars_format::fixed);
  invariant(fault == std::errc{}, "a duration of too many digits");
  std::string name(name_of(unit));
  if (amount == 1 && unit != Unit::kPercent) name.pop_back();
  return std::string(digits.data(), end) + " " + name;
}

std::string_view name_of(Duration::Unit unit) {
  switch (unit) {
    case Unit::kSteps:
      return "steps";
    case Unit::kEpochs:
      return "epochs";
    case Unit::kPercent:
      return "%";
    case Unit::kSamples:
      return "samples";
  }
  invariant(false, "a duration of unknown unit");
  return {};
}

}  // namespace lacuna
