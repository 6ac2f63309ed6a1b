#pragma once
// From what a user names to a source.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/source/shapes.h"
#include "data/source/source.h"

namespace lacuna {

enum class SourceKind {
  kAuto,      // by what the path is: see open_source
  kFolder,    // all images below a folder, without labels
  kClasses,   // root/<class>/**/<image>
  kList,      // .txt, .tsv, .csv, .jsonl or COCO's .json (list_file.h)
  kArchives,  // tar archives (archive_listing.h)
  kShapes,    // built-in synthetic scenes (shapes.h)
};

enum class Split { kTrain, kVal, kAll };  // kAll: whatever is there, split or not

struct SourceConfig {
  std::string path;  // a folder, a list, archives, or "shapes"
  SourceKind kind = SourceKind::kAuto;
  std::string images;  // of a list: the folder or archives that hold them; empty: the list's folder
  std::vector<std::string> class_captions;  // templates such as "a photo of a {}." for labelled files without captions
  DecodeOptions decode;
  std::filesystem::path cache;  // folder for indices and unpacked archives; empty: none
  int decoded_side = 0;         // keep images decoded, made smaller to this (decoded_source.h); 0: do not
  std::function<void(const std::string&)> say;  // told what takes long, while it does; may be empty
  std::vector<std::string> also;                // more sources beside `path` (mixed_source.h), each read as kAuto
  std::vector<double> weights;                  // of `path` and each of `also`; none: by their sizes
  // Shapes only.
  std::int64_t size = 10000;
  std::uint64_t seed = 0;
  int side = 64;
  SceneLabel label = SceneLabel::kShape;
};

// kAuto takes "shapes" for the generator, a tar or a pattern of tars for archives, another file for a list, a folder
// without images but with tars for archives, and any other folder for a class tree when its images lie in two or more
// sub-folders and none beside them.
//
// A folder with train/ and val/ (or with train/ alone) below it stands for the one that the split names; likewise
// folders inside archives, and archives whose names say train and val, where test/ serves if there is no val/.
// Elsewhere every split reads the path as it is. A list has one split. Shapes of the two splits are disjoint for all
// seeds.
//
// `notes`, where given, receives a sentence for every choice made here that a user may want to know.
std::unique_ptr<Source> open_source(const SourceConfig& config, Split split, std::vector<std::string>* notes = nullptr);

// Whether the two splits are different images.
bool has_splits(const SourceConfig& config);

}  // namespace lacuna
