#pragma once
// A stretch of training, written the way people say it: "300 epochs", "10k steps", "5 %", "1.5 M samples".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lacuna {

struct Duration {
  enum class Unit { kSteps, kEpochs, kPercent, kSamples };

  double amount = 0;  // finite, at least 0; whole for steps and samples
  Unit unit = Unit::kEpochs;

  // Number, optional k or M, unit: step(s), epoch(s) or ep, sample(s), % or percent. A bare number takes `bare`, and is
  // refused without one. Empty when `text` says anything else, or an amount above 1e15.
  static std::optional<Duration> parse(std::string_view text, std::optional<Unit> bare = std::nullopt);
  static std::optional<Duration> of(double amount, Unit unit);  // empty when the amount breaks the contract above

  // Optimizer steps, rounded to the nearest (samples: up, so that they have all been seen). A positive duration lasts
  // at least one step. `batch` is the samples of one step over all ranks. Throws Error for a percentage of a run whose
  // total is not known (total_steps <= 0): a run's own length cannot be a share of itself.
  std::int64_t resolve(std::int64_t steps_per_epoch, std::int64_t batch, std::int64_t total_steps) const;

  std::string str() const;  // parse(str()) gives the same duration
  bool operator==(const Duration&) const = default;
};

// "steps", "epochs", "%" or "samples".
std::string_view name_of(Duration::Unit unit);

}  // namespace lacuna
