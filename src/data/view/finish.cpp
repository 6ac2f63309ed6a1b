#include "data/view/finish.h"

#include "base/rng.h"
#include "data/view/blur.h"
#include "data/view/color.h"
#include "data/view/tone.h"

namespace lacuna {
namespace {

constexpr int kSolarizeThreshold = 128;

}  // namespace

Finish draw_finish(const AugmentConfig& config, std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) {
  Rng tone(seed, Purpose::kTone, epoch, sample);
  Rng blur(seed, Purpose::kBlur, epoch, sample);
  Finish finish;
  finish.gray = tone.chance(config.grayscale);
  finish.solarized = tone.chance(config.solarize);
  if (blur.chance(config.blur)) finish.sigma = blur.uniform(config.blur_min, config.blur_max);
  return finish;
}

void finish_view(Image& view, const Finish& finish, double share) {
  if (finish.gray) to_grayscale(view);
  if (finish.sigma) gaussian_blur(view, *finish.sigma * share);
  if (finish.solarized) solarize(view, kSolarizeThreshold);
}

}  // namespace lacuna
