#include "data/view/mix.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr int kEraseTries = 10;

double between(double low, double high, double uniform) { return low + uniform * (high - low); }

int place(double uniform, int limit) { return static_cast<int>(std::floor(uniform * (limit + 1))); }

// Gamma(shape, 1). Below 1 the shape is raised by 1 and the variate scaled back.
double draw_gamma(double shape, Rng& rng) {
  if (shape < 1.0) {
    const double scale = std::pow(1.0 - rng.uniform(), 1.0 / shape);
    return draw_gamma(shape + 1.0, rng) * scale;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = rng.normal(), root = 1.0 + c * x;
    const double v = root * root * root;
    if (v <= 0.0) continue;
    if (std::log(1.0 - rng.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

Mix draw_one(int width, int height, const MixConfig& config, Rng& rng) {
  if (!rng.chance(config.probability)) return {};
  const bool both = config.mixup_alpha > 0.0 && config.cutmix_alpha > 0.0;
  const bool cut = both ? rng.chance(config.switch_probability) : config.cutmix_alpha > 0.0;
  const double own = draw_beta(cut ? config.cutmix_alpha : config.mixup_alpha, rng);
  if (!cut) return {.own = own};
  const int y = static_cast<int>(rng.integer(0, height - 1)), x = static_cast<int>(rng.integer(0, width - 1));
  return cut_mix(width, height, own, x, y);
}

}  // namespace

std::vector<Box> erase_boxes(int width, int height, int count, const EraseConfig& config,
                             const std::function<double()>& uniform) {
  const double log_aspect = std::log(config.min_aspect);
  const double whole = static_cast<double>(width) * height;
  std::vector<Box> boxes;
  for (int box = 0; box < count; ++box) {
    for (int attempt = 0; attempt < kEraseTries; ++attempt) {
      const double area = between(config.min_area, config.max_area, uniform()) * whole / count;
      const double aspect = std::exp(between(log_aspect, -log_aspect, uniform()));
      const int h = static_cast<int>(std::nearbyint(std::sqrt(area * aspect)));
      const int w = static_cast<int>(std::nearbyint(std::sqrt(area / aspect)));
      if (w >= width || h >= height) continue;
      const int top = place(uniform(), height - h), left = place(uniform(), width - w);
      boxes.push_back({left, top, w, h});
      break;
    }
  }
  return boxes;
}

std::vector<Box> draw_erase(int width, int height, const EraseConfig& config, Rng& rng) {
  if (!rng.chance(config.probability)) return {};
  const int count = static_cast<int>(rng.integer(config.min_count, config.max_count));
  return erase_boxes(width, height, count, config, [&rng] { return rng.uniform(); });
}

Mix cut_mix(int width, int height, double own, int x, int y) {
  const double side = std::sqrt(1.0 - own);
  const int w = static_cast<int>(width * side), h = static_cast<int>(height * side);
  const int left = std::clamp(x - w / 2, 0, width), right = std::clamp(x + (w + 1) / 2, 0, width);
  const int top = std::clamp(y - h / 2, 0, height), bottom = std::clamp(y + (h + 1) / 2, 0, height);
  const double cut = static_cast<double>(right - left) * (bottom - top);
  return {.own = 1.0 - cut / (static_cast<double>(width) * height), .box = Box{left, top, right - left, bottom - top}};
}

std::vector<Mix> draw_mix(int batch, int width, int height, const MixConfig& config, Rng& rng) {
  invariant(batch % 2 == 0, "draw_mix: a batch of ", batch, " images has no partners for all");
  invariant(config.mixup_alpha > 0.0 || config.cutmix_alpha > 0.0, "draw_mix: neither mixup nor CutMix is on");
  const auto draw = [&] { return draw_one(width, height, config, rng); };
  if (config.mode == MixMode::kBatch) return std::vector<Mix>(static_cast<std::size_t>(batch), draw());
  std::vector<Mix> mixes(static_cast<std::size_t>(batch));
  const std::size_t draws = config.mode == MixMode::kPair ? mixes.size() / 2 : mixes.size();
  for (std::size_t i = 0; i < draws; ++i) {
    mixes[i] = draw();
    if (config.mode == MixMode::kPair) mixes[mixes.size() - 1 - i] = mixes[i];
  }
  return mixes;
}

double draw_beta(double alpha, Rng& rng) {
  const double first = draw_gamma(alpha, rng), second = draw_gamma(alpha, rng);
  const double sum = first + second;
  return sum > 0.0 ? first / sum : 0.5;
}

}  // namespace lacuna
