#pragma once
// Operations that give each level of each channel another one, equal to Pillow's ImageOps to the byte.

#include "io/image/image.h"

namespace lacuna {

void invert(Image& image);
void solarize(Image& image, int threshold);                        // inverts the levels from `threshold` (0 to 256) on
void solarize_add(Image& image, int amount, int threshold = 128);  // brightens those below it
void posterize(Image& image, int bits);                            // keeps the high bits, 0 to 8 of them; 0 is black
void auto_contrast(Image& image);                                  // stretches each channel to the whole range
void equalize(Image& image);                                       // flattens the histogram of each channel

}  // namespace lacuna
