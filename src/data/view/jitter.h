#pragma once
// Colour jitter of which only a part of the image is kept.

#include "data/view/augment.h"
#include "io/image/image_view.h"

namespace lacuna {

// `out` becomes what color_jitter of the whole image leaves inside the box, byte for byte. Pixels outside the box are
// looked at for the mean that contrast blends with, and not written anywhere.
void jittered_part(const ImageView& whole, const Box& box, const ColorJitter& jitter, Image& out);

}  // namespace lacuna
