#pragma once
// Several places of images as one source, in the order given: what a command means by PATH…

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/source/open_source.h"
#include "data/source/source.h"

namespace lacuna {

// Each path is an image, a list (list_file.h), archives, a folder (everything below it, train/ and val/ included), or
// "shapes" with the settings of `shapes`. Throws Error for what is none of these or holds no image.
std::unique_ptr<Source> open_images(std::span<const std::string> paths, const SourceConfig& shapes);

}  // namespace lacuna
