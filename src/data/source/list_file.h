#pragma once
// Lists of images. Paths are relative to the list's folder or to another that is named, or absolute; or they are
// members of archives.
//
//   .txt .tsv   path [TAB label [TAB caption]]
//   .csv        RFC 4180 with a header line; columns image | path | filename | file_name, label | class, caption
//   .json       COCO captions (coco_captions.h)
//   .jsonl      one object a line: path | image | file_name, label | class, caption (text) or captions (list of texts)
//
// Labels are numbers from 0 when every label of the list is one; else they are names, and classes are the distinct
// names sorted by bytes. An empty label means none. Lines with a caption that name the same image add up to one sample
// with several captions; lines without a caption are samples of their own, so an image may be repeated.

#include <filesystem>

#include "data/source/sample_table.h"

namespace lacuna {

// Whether the path's ending is one of the above.
bool is_list_file(const std::filesystem::path& path);

// Where the images of a list are.
struct ListedImages {
  std::filesystem::path folder;  // empty: the list's own
  bool archived = false;         // inside archives: the listing looks for them (listing.h)
};

// Throws Error that names the line: malformed lines, contradicting labels, an empty list, or a list none of whose
// probed images exists (first, middle and last are probed; single missing files are the loader's affair).
SampleTable read_list(const std::filesystem::path& path, const ListedImages& images = {});

}  // namespace lacuna
