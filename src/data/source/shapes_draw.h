#pragma once
// Rasteriser of synthetic scenes: signed distances in the scene's own units, so the side only chooses the sampling
// grid.

#include <cstdint>
#include <vector>

#include "data/source/shapes.h"
#include "io/image/image.h"

namespace lacuna {

// The scene at side x side pixels, edges anti-aliased over one pixel.
Image draw_scene(const Scene& scene, int side);

// Per pixel centre: 0 for backdrop, otherwise 1 + the shape of the topmost object. [side * side], row by row.
std::vector<std::uint8_t> scene_mask(const Scene& scene, int side);

}  // namespace lacuna
