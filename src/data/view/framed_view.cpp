#include "data/view/framed_view.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "data/view/augment.h"

namespace lacuna {
namespace {

// The square's offset in a side of `size`; where the side is shorter, half the border before it, as a negative.
int offset(int size, int side, bool truncates) {
  if (size < side) return -((side - size) / 2);
  return truncates ? (size - side) / 2 : static_cast<int>(std::nearbyint((size - side) / 2.0));
}

// The long side becomes `resized`.
void fit_inside(int width, int height, int resized, FramedGeometry& out) {
  const double ratio = static_cast<double>(std::max(width, height)) / resized;
  out.width = static_cast<int>(std::nearbyint(width / ratio));
  out.height = static_cast<int>(std::nearbyint(height / ratio));
  if (out.width < 1 || out.height < 1) {
    fail_data("an image of ", width, " x ", height, " pixels is too elongated to fit into ", resized,
              " pixels: its short side would vanish");
  }
}

Image on_ground(const Image& inner, int left, int top, int side, const std::array<std::uint8_t, 3>& fill) {
  Image out(side, side);
  for (int y = 0; y < side; ++y) {
    std::uint8_t* row = out.row(y);
    for (int x = 0; x < side; ++x) std::copy(fill.begin(), fill.end(), row + std::ptrdiff_t{3} * x);
  }
  for (int y = 0; y < inner.height; ++y)
    std::memcpy(out.row(top + y) + std::ptrdiff_t{3} * left, inner.row(y), static_cast<std::size_t>(inner.width) * 3);
  return out;
}

}  // namespace

FramedGeometry framed_geometry(int width, int height, int side, const Framing& framing) {
  const int resized = framing.resized > 0 ? static_cast<int>(framing.resized) : side;
  FramedGeometry out{.width = resized, .height = resized};
  if (framing.fit == Fit::kPad) fit_inside(width, height, resized, out);
  if (framing.fit == Fit::kCrop) {
    const CenterGeometry cut = center_geometry(width, height, resized, side);
    out.width = cut.width;
    out.height = cut.height;
  }
  out.left = offset(out.width, side, framing.truncates);
  out.top = offset(out.height, side, framing.truncates);
  return out;
}

Image framed_view(const Image& image, int side, Kernel kernel, const Framing& framing) {
  const FramedGeometry g = framed_geometry(image.width, image.height, side, framing);
  const Box window{std::max(g.left, 0), std::max(g.top, 0), std::min(side, g.width), std::min(side, g.height)};
  Image visible = resized_window(image, g.width, g.height, window, kernel);
  if (window.width == side && window.height == side) return visible;
  return on_ground(visible, std::max(-g.left, 0), std::max(-g.top, 0), side, framing.fill);
}

}  // namespace lacuna
