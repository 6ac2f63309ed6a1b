#pragma once
// A trained network at another image size.

#include "nn/position.h"
#include "nn/vit.h"

namespace lacuna {

// A copy of `vit` for images of `image_side`: learned positions and relative bias tables are resized, fixed positions
// made anew, everything else is copied. Same device and dtype; tables are resized in that dtype. Throws Error when the
// side is no multiple of the patch side.
Vit resized(const Vit& vit, int64_t image_side, PositionResize positions, BiasResize bias = BiasResize::kSpline);

}  // namespace lacuna
