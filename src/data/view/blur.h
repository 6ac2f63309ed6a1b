#pragma once
// Blurs and their opposite. "Gaussian blur" names two different operations: recipes after DINO, BYOL and DeiT III mean
// Pillow's, those after SimCLR torchvision's.

#include "io/image/image.h"

namespace lacuna {

// Pillow's ImageFilter.GaussianBlur: three box blurs for each axis, of the radius that gives the variance of `sigma`
// (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering", 2011), with 8 bits
// between passes and edge pixels repeated. Equal to the byte.
void gaussian_blur(Image& image, double sigma);

// torchvision's gaussian_blur: a Gaussian sampled at `size` (odd) taps, edges mirrored without repeating them. Sums run
// over one axis after the other, so an exact half may round the other way (at most 1 level, in 1 of 1,000 pixels).
void sampled_gaussian_blur(Image& image, int size, double sigma);

// Pillow's ImageEnhance.Sharpness: blends the image smoothed by a 3 x 3 kernel (factor 0) with itself (factor 1). The
// outermost pixels stay.
void adjust_sharpness(Image& image, double factor);

}  // namespace lacuna
