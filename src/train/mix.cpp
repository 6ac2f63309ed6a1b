#include "train/mix.h"

#include <algorithm>

#include "base/error.h"

namespace lacuna {
namespace {

// The pixels of a box in [...,S,S].
at::Tensor inside(const at::Tensor& image, const Box& box) {
  return image.slice(-2, box.top, box.top + box.height).slice(-1, box.left, box.left + box.width);
}

// [B], in the type and on the device of `like`
at::Tensor shares(std::span<const Mix> mixes, const at::Tensor& like) {
  std::vector<double> own;
  for (const Mix& mix : mixes) own.push_back(mix.own);
  return at::tensor(own, at::kDouble).to(like.options());
}

}  // namespace

at::Tensor mix_images(const at::Tensor& images, std::span<const Mix> mixes) {
  const int64_t batch = images.size(0);
  invariant(batch % 2 == 0 && batch == std::ssize(mixes), "mix_images: ", mixes.size(), " draws for ", batch,
            " images");
  std::vector<Mix> blends(mixes.begin(), mixes.end());
  for (Mix& mix : blends) {
    if (mix.box) mix.own = 1.0;
  }
  const at::Tensor partners = images.flip({0});                       // [B,3,S,S]
  const at::Tensor own = shares(blends, images).view({-1, 1, 1, 1});  // [B,1,1,1]
  at::Tensor mixed = images * own + partners * (1.0 - own);
  for (int64_t i = 0; i < batch; ++i) {
    const auto& box = mixes[static_cast<std::size_t>(i)].box;
    if (box) inside(mixed[i], *box).copy_(inside(partners[i], *box));
  }
  return mixed;
}

at::Tensor mix_targets(const at::Tensor& labels, std::span<const Mix> mixes, int64_t classes, double smoothing) {
  const double off = smoothing / static_cast<double>(classes);
  at::Tensor targets = at::full({labels.size(0), classes}, off, labels.options().dtype(at::kFloat));
  targets.scatter_(1, labels.unsqueeze(1), 1.0 - smoothing + off);  // [B,K]
  if (mixes.empty()) return targets;
  const at::Tensor own = shares(mixes, targets).unsqueeze(1);  // [B,1]
  return targets * own + targets.flip({0}) * (1.0 - own);
}

void erase(const at::Tensor& image, std::span<const Box> boxes, Rng& rng) {
  for (const Box& box : boxes) {
    const at::Tensor target = inside(image, box);  // [3,h,w]
    std::vector<float> noise(static_cast<std::size_t>(target.numel()));
    std::generate(noise.begin(), noise.end(), [&rng] { return static_cast<float>(rng.normal()); });
    target.copy_(at::tensor(noise).view(target.sizes()));
  }
}

}  // namespace lacuna
