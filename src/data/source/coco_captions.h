#pragma once
// Captions as COCO publishes them: one JSON with `images` ({id, file_name}) and `annotations` ({image_id, caption}).

#include <filesystem>

#include "data/source/list_file.h"
#include "data/source/sample_table.h"

namespace lacuna {

// One sample for each image that has a caption, in the file's order, without labels. The images are looked for where
// people keep them: beside the JSON; in the folder that its name ends in ("captions_train2017.json" -> train2017)
// beside it or above it, or in images/ there. The first place that holds the first, middle and last image is taken,
// unless `listed` names one. Throws Error that names file and entry.
SampleTable read_coco_captions(const std::filesystem::path& path, const ListedImages& listed = {});

}  // namespace lacuna
