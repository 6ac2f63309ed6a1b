#pragma once
// Pixels read in place, and boxes of them.

#include <cstddef>
#include <cstdint>

#include "io/image/image.h"

namespace lacuna {

// An integer crop in source pixels.
struct Box {
  int left = 0, top = 0, width = 0, height = 0;

  bool operator==(const Box&) const = default;
};

// Whether the box is not empty and lies inside width x height.
inline bool holds(int width, int height, const Box& box) {
  return box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0 && box.width <= width - box.left &&
         box.height <= height - box.top;
}

// The box of an image that is smaller by a whole factor, with the pixels that it covers in part.
inline Box reduced(const Box& box, int reduction) {
  const int left = box.left / reduction, top = box.top / reduction;
  return {left, top, (box.left + box.width + reduction - 1) / reduction - left,
          (box.top + box.height + reduction - 1) / reduction - top};
}

// 8-bit RGB pixels of somebody else, `stride` bytes from row to row.
struct ImageView {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  int width = 0, height = 0;

  ImageView() = default;
  ImageView(const std::uint8_t* pixels, std::size_t row_bytes, int w, int h)
      : data(pixels), stride(row_bytes), width(w), height(h) {}
  ImageView(const Image& image)  // NOLINT(google-explicit-constructor): an image is a view of itself
      : ImageView(image.pixels.data(), static_cast<std::size_t>(image.width) * 3, image.width, image.height) {}

  const std::uint8_t* row(int y) const { return data + static_cast<std::size_t>(y) * stride; }
  ImageView part(const Box& box) const {
    return {row(box.top) + static_cast<std::size_t>(box.left) * 3, stride, box.width, box.height};
  }
};

}  // namespace lacuna
