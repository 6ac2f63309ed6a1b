#include "data/open_source.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/file_source.h"
#include "data/folder_listing.h"
#include "data/list_file.h"
#include "data/shapes.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// "/data/imagenet holds no train2" is more help than "not found".
[[noreturn]] void fail_missing(const fs::path& path) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(path, ignored).lexically_normal();
  fs::path present = whole, missing;
  while (present.has_relative_path() && !fs::exists(present, ignored)) {
    missing = present.filename();
    present = present.parent_path();
  }
  fail("data.path = \"", path.string(), "\": expected a folder of images, a list (.txt, .tsv, .csv, .jsonl) or ",
       "\"shapes\", found nothing: ", present.string(), " holds no \"", missing.string(), "\". Correct the path");
}

bool only_visible_folder(const fs::path& root, const std::string& name) {
  std::error_code error;
  for (fs::directory_iterator entry(root, error), end; !error && entry != end; entry.increment(error)) {
    const std::string other = entry->path().filename().string();
    if (!other.starts_with('.') && other != name && is_folder(entry->path())) return false;
  }
  return !error;
}

// Beside other folders and without a val/, "train" may be a class of vehicles: then the root is read as it is.
fs::path folder_of_split(const fs::path& root, Split split, std::vector<std::string>& notes) {
  const fs::path train = root / "train", val = root / "val";
  if (!is_folder(train)) return root;
  const bool is_split = is_folder(val) || is_folder(root / "test") || only_visible_folder(root, "train");
  if (!is_split) {
    notes.push_back(text(root.string(), " holds train/ and other folders, but no val/: all of them are read. Name ",
                         train.string(), " to read it alone"));
    return root;
  }
  if (split == Split::kVal && !is_folder(val)) {
    fail(root.string(), ": expected val/ beside train/ for evaluation, found none. Create it, or name the evaluation ",
         "folder itself");
  }
  const fs::path& chosen = split == Split::kTrain ? train : val;
  notes.push_back(text("reading ", chosen.string(), " (", root.string(), " has a folder for each split)"));
  return chosen;
}

FileListing list_files(const SourceConfig& config, Split split, std::vector<std::string>& notes) {
  const fs::path path = config.path;
  std::error_code ignored;
  check(!config.path.empty(), "data.path: expected a folder of images, a list or \"shapes\", found nothing");
  if (!fs::exists(path, ignored)) fail_missing(path);
  const bool folder = is_folder(path);
  if (config.kind == SourceKind::kList || (config.kind == SourceKind::kAuto && !folder)) {
    check(!folder, path.string(), ": expected a list file for data.kind = \"list\", found a folder");
    return read_list(path);
  }
  check(folder, path.string(), ": expected a folder for this data.kind, found a file");
  const fs::path root = folder_of_split(path, split, notes);
  if (config.kind == SourceKind::kFolder) return list_folder(root);
  if (config.kind == SourceKind::kClasses) return list_class_folders(root);
  FileListing listing = list_any_folder(root);
  notes.push_back(listing.classes.empty() ? text(root.string(), ": ", listing.samples.size(), " images without labels")
                                          : text(root.string(), ": ", listing.samples.size(), " images in ",
                                                 listing.classes.size(), " classes, one for each sub-folder"));
  return listing;
}

// Parity keeps the splits apart for every pair of user seeds.
std::uint64_t shapes_seed(std::uint64_t seed, Split split) { return 2 * seed + (split == Split::kVal ? 1 : 0); }

}  // namespace

std::unique_ptr<Source> open_source(const SourceConfig& config, Split split, std::vector<std::string>* notes) {
  if (config.kind == SourceKind::kShapes || (config.kind == SourceKind::kAuto && config.path == "shapes")) {
    return make_shapes_source(
        {.size = config.size, .seed = shapes_seed(config.seed, split), .side = config.side, .label = config.label});
  }
  std::vector<std::string> unwanted;
  return std::make_unique<FileSource>(list_files(config, split, notes ? *notes : unwanted), config.class_captions,
                                      DecodeLimits{}, config.decode);
}

}  // namespace lacuna
