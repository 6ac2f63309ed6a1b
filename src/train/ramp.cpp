#include "train/ramp.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace lacuna {

double on_line(double start, double end, double i, double n, RampEnds ends) {
  switch (ends) {
    case RampEnds::kBoth:
      return n > 1 ? start + (end - start) * i / (n - 1) : start;
    case RampEnds::kFirst:
      return start + (end - start) * i / n;
    case RampEnds::kLast:
      return start + (end - start) * (i + 1) / n;
  }
  invariant(false, "unknown ends of a ramp");
  return start;
}

double on_half_cosine(double start, double end, double share) {
  return end + 0.5 * (start - end) * (1.0 + std::cos(std::numbers::pi * share));
}

void Ramp::fields(Fields& f) {
  f.add("start", start, {.help = "value of the first step"});
  f.add("end", end, {.help = "value at the end of the ramp"});
  f.add("shape", shape, kRampShapes, {.help = "how the value goes from start to end"});
  f.add("over", over,
        {.help = "length of the ramp; the value stays at its end afterwards", .bare = Duration::Unit::kEpochs});
  f.add("ends", ends, kRampEnds, {.help = "which ends of the ramp are values that a step takes"});
  f.add("per_epoch", per_epoch, {.help = "whether the value changes only where an epoch starts"});
  f.add("later_end", later_end,
        {.help = "value at the end of a second ramp, of the same shape; auto is no second one"});
  f.add("later_over", later_over,
        {.help = "length of the second ramp, from the end of the first", .bare = Duration::Unit::kEpochs});
}

void Ramp::validate(const std::string& key, double low, double high) const {
  const bool moves = shape != RampShape::kConstant;
  check(moves || ((!end || *end == start) && !later_end), key,
        ".shape: an end is given, but a constant value never reaches it; set ", key, ".shape to linear or cosine");
  check(!moves || end, key, ".end: a value that is not constant needs an end");
  check(over.unit != Duration::Unit::kSamples && later_over.unit != Duration::Unit::kSamples, key,
        ".over: expected epochs, steps or a share of the run, found samples");
  check(!later_end || later_over.amount > 0, key, ".later_over: a second ramp needs a length");
  for (const double value : {start, end.value_or(start), later_end.value_or(start)})
    check(value >= low && value <= high, key, ": expected values from ", low, " to ", high, ", found ", value);
}

double Ramp::value(std::int64_t step, std::int64_t total_steps, std::int64_t steps_per_epoch) const {
  if (shape == RampShape::kConstant) return start;
  const double unit = per_epoch ? static_cast<double>(steps_per_epoch) : 1.0;
  const auto length = [&](const Duration& d) {
    return static_cast<double>(d.resolve(steps_per_epoch, /*batch=*/0, total_steps)) / unit;
  };
  const auto within = [&](double from, double to, double i, double n) {
    return shape == RampShape::kLinear ? on_line(from, to, i, n, ends)
                                       : on_half_cosine(from, to, on_line(0, 1, i, n, ends));
  };
  const double now = static_cast<double>(per_epoch ? step / steps_per_epoch : step);
  const double first = length(over), last = end.value();
  if (now < first) return within(start, last, now, first);
  if (!later_end) return last;
  const double second = length(later_over);
  return now - first < second ? within(last, *later_end, now - first, second) : *later_end;
}

}  // namespace lacuna
