#pragma once
// The orientation that a camera noted beside the picture. Reads EXIF's first directory and, where that has no such tag,
// XMP; everything else in them is left alone.

#include <cstdint>
#include <span>

#include "io/image/image.h"

namespace lacuna {

inline constexpr int kUpright = 1;

// EXIF's number (1 to 8) noted in a JPEG, PNG or WebP file; kUpright where there is none or it makes no sense. TIFF
// files carry it as a tag of their own, which decode_tiff obeys as Pillow does.
int exif_orientation(std::span<const std::uint8_t> file);

// The image turned and mirrored so that it stands upright, as Pillow's exif_transpose does.
Image upright(Image image, int orientation);

}  // namespace lacuna
