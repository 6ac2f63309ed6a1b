#pragma once
// Reference images, stored as U8 tensors.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "io/files.h"
#include "io/image/image.h"
#include "io/image/resize.h"
#include "io/tensor/tensor_file.h"

namespace lacuna::testing {

inline std::vector<std::uint8_t> bytes_of(const std::filesystem::path& path) {
  const std::string content = read_file(path, 1 << 28);
  return {content.begin(), content.end()};
}

// A gray [H, W] tensor becomes three equal channels.
inline Image golden_image(const TensorFile& file, const std::string& key) {
  const TensorInfo& tensor = file.at(key);
  const bool gray = tensor.shape.size() == 2;
  if (tensor.dtype != DType::kU8 || !(gray || (tensor.shape.size() == 3 && tensor.shape[2] == 3))) {
    throw std::runtime_error(key + " is no [H, W, 3] or [H, W] image");
  }
  Image image(static_cast<int>(tensor.shape[1]), static_cast<int>(tensor.shape[0]));
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<std::uint8_t>(tensor.data[gray ? i / 3 : i]);
  }
  return image;
}

// Equality of size and of every byte; a failure says how far apart the images are.
inline ::testing::AssertionResult same_pixels(const Image& found, const Image& expected) {
  if (found.width != expected.width || found.height != expected.height) {
    return ::testing::AssertionFailure() << "found " << found.width << " x " << found.height << ", expected "
                                         << expected.width << " x " << expected.height;
  }
  std::size_t different = 0;
  int worst = 0;
  for (std::size_t i = 0; i < found.pixels.size(); ++i) {
    const int distance = std::abs(found.pixels[i] - expected.pixels[i]);
    different += distance != 0 ? 1 : 0;
    worst = std::max(worst, distance);
  }
  if (different == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << different << " of " << found.pixels.size() << " bytes differ, by at most "
                                       << worst;
}

inline Kernel kernel_named(const std::string& name) {
  if (name == "box") return Kernel::kBox;
  if (name == "bilinear") return Kernel::kBilinear;
  if (name == "hamming") return Kernel::kHamming;
  if (name == "bicubic") return Kernel::kBicubic;
  if (name == "lanczos") return Kernel::kLanczos;
  throw std::runtime_error("no kernel " + name);
}

}  // namespace lacuna::testing
