#pragma once
// Images brought to a network's square as its own program would (io/image/framing).

#include "io/image/framing.h"
#include "io/image/image.h"
#include "io/image/resize.h"

namespace lacuna {

// Where the resized image lies about the square of `side` that is cut out of it.
struct FramedGeometry {
  int width = 0, height = 0;  // of the resized image
  int left = 0, top = 0;      // of the square in it; negative where the square reaches out by that many pixels
};

// Resized sides as torchvision (kCrop: the long side truncated), timm and OpenCLIP (kPad: the short side rounded, ties
// to even) compute them. Throws Error(kBadData) for an image so elongated that a side would pass 2^24 or vanish.
FramedGeometry framed_geometry(int width, int height, int side, const Framing& framing);

// Only the pixels that are kept are made.
Image framed_view(const Image& image, int side, Kernel kernel, const Framing& framing);

}  // namespace lacuna
