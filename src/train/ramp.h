#pragma once
// Quantities that move over a run beside the learning rate, as pure functions of the step: the momentum of an averaged
// teacher, weight decay, temperatures.

#include <cstdint>
#include <optional>
#include <string>

#include "base/config.h"

namespace lacuna {

// Which ends of a stretch of n steps are values that a step takes. All three forms are in published code.
enum class RampEnds { kBoth, kFirst, kLast };
inline constexpr Named<RampEnds> kRampEnds[] = {
    {RampEnds::kBoth, "both",
     "i / (n - 1): the first step has the start, the last one the end; a single step the start"},
    {RampEnds::kFirst, "first", "i / n: the step after the stretch is the first one with the end"},
    {RampEnds::kLast, "last", "(i + 1) / n: the last step has the end, the first one is already past the start"}};

// Value of step i of n, 0 <= i < n, on the line from `start` to `end`.
double on_line(double start, double end, double i, double n, RampEnds ends);
// Half a cosine from `start` (share 0) to `end` (share 1).
double on_half_cosine(double start, double end, double share);

enum class RampShape { kConstant, kLinear, kCosine };
inline constexpr Named<RampShape> kRampShapes[] = {{RampShape::kConstant, "constant", "the start, always"},
                                                   {RampShape::kLinear, "linear", "a straight line"},
                                                   {RampShape::kCosine, "cosine", "half a cosine"}};

// From `start` to `end` over a stretch at the beginning of the run, then perhaps on to `later_end` over a second one;
// constant after that. With `per_epoch` the value is that of the epoch's first step for the whole epoch, and a stretch
// counts epochs.
struct Ramp {
  double start = 0;
  std::optional<double> end = {};
  RampShape shape = RampShape::kConstant;
  Duration over{100, Duration::Unit::kPercent};
  RampEnds ends = RampEnds::kFirst;
  bool per_epoch = false;
  std::optional<double> later_end = {};
  Duration later_over{0, Duration::Unit::kEpochs};

  // Open-ended on both sides: the owner of a quantity gives its limits to `validate`.
  void fields(Fields& f);

  // Throws Error that names `key` unless shape, ends and lengths fit together and all values are within [low, high].
  void validate(const std::string& key, double low, double high) const;

  // Step 0 is the first of the run. Throws Error where a length in percent meets a run of unknown length.
  double value(std::int64_t step, std::int64_t total_steps, std::int64_t steps_per_epoch) const;
};

}  // namespace lacuna
