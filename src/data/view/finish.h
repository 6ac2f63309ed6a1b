#pragma once
// What is done to the views of a crop after they were cropped and resized: grayscale, blur and solarize, in this order.

#include <cstdint>
#include <optional>

#include "data/view/view.h"
#include "io/image/image.h"

namespace lacuna {

struct Finish {
  bool gray = false, solarized = false;
  std::optional<double> sigma;  // of the blur, in pixels of the widest view

  bool any() const { return gray || solarized || sigma; }
};

// Every number is drawn whatever is switched on, so that no switch changes the draws of another.
Finish draw_finish(const AugmentConfig& config, std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample);

// `share`: the view's side over that of the widest.
void finish_view(Image& view, const Finish& finish, double share);

}  // namespace lacuna
