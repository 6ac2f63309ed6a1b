#pragma once
// Shears, shifts and rotations as Pillow's Image.transform and Image.rotate make them, to the byte: each output pixel's
// centre goes through the matrix; what falls outside the image gets the fill colour, the rest is interpolated without
// antialiasing in double precision and truncated.
//
// Non-goal: Image.resize's filters. The cubic here is Pillow's other one (a = -1).

#include <array>
#include <cstdint>

#include "io/image/image.h"
#include "io/image/resize.h"

namespace lacuna {

// From the centre of an output pixel to a place in the input: (a x + b y + c, d x + e y + f).
struct AffineMatrix {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};

using FillColor = std::array<std::uint8_t, 3>;

// kBilinear or kBicubic.
Image transformed(const Image& image, const AffineMatrix& matrix, Kernel kernel, const FillColor& fill);

AffineMatrix shear_x(double factor);
AffineMatrix shear_y(double factor);
AffineMatrix shift(double x, double y);  // the content moves by (-x, -y) pixels

// Counter-clockwise about the middle; 0 degrees is a copy. Less than a quarter turn.
Image rotated(const Image& image, double degrees, Kernel kernel, const FillColor& fill);

}  // namespace lacuna
