#include "data/source/coco_captions.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxFile = std::uint64_t{1} << 30;  // the published ones have 92 MB at most

struct CaptionedImage {
  std::string file;
  std::vector<std::string> captions;
};

const json& list_of(const json& root, const char* key, const fs::path& path) {
  check(root.is_object() && root.contains(key) && root[key].is_array(), path.string(),
        ": expected COCO captions, an object with the lists \"images\" and \"annotations\", found no list \"", key,
        "\"");
  return root[key];
}

template <class Value>
Value value_of(const json& entry, const char* key, const std::string& place) {
  check(entry.is_object() && entry.contains(key), place, ": expected \"", key, "\", found none");
  try {
    return entry[key].get<Value>();
  } catch (const json::exception&) {
    fail(place, ": \"", key, "\" is ", entry[key].type_name(), ", which does not fit");
  }
}

std::vector<CaptionedImage> images_of(const json& root, const fs::path& path) {
  std::vector<CaptionedImage> images;
  std::unordered_map<std::int64_t, std::size_t> by_id;
  for (const json& entry : list_of(root, "images", path)) {
    const std::string place = text(path.string(), ": images[", images.size(), "]");
    const auto id = value_of<std::int64_t>(entry, "id", place);
    check(by_id.emplace(id, images.size()).second, place, ": the id ", id, " is given twice");
    images.push_back({value_of<std::string>(entry, "file_name", place), {}});
    const std::string& file = images.back().file;
    check(!file.empty() && file.find('\0') == std::string::npos, place, ": expected a file's name, found \"",
          printable(file), "\"");
  }
  std::size_t number = 0;
  for (const json& entry : list_of(root, "annotations", path)) {
    const std::string place = text(path.string(), ": annotations[", number++, "]");
    check(entry.is_object() && entry.contains("caption"), place,
          ": expected \"caption\", found none; this looks like another of COCO's files (captions_*.json is wanted)");
    const auto image = by_id.find(value_of<std::int64_t>(entry, "image_id", place));
    check(image != by_id.end(), place, ": names an image that is not in the list \"images\"");
    images[image->second].captions.push_back(value_of<std::string>(entry, "caption", place));
  }
  std::erase_if(images, [](const CaptionedImage& image) { return image.captions.empty(); });
  return images;
}

bool holds(const fs::path& folder, const std::vector<CaptionedImage>& images) {
  std::error_code ignored;
  return fs::exists(folder / images.front().file, ignored) && fs::exists(folder / images.back().file, ignored) &&
         fs::exists(folder / images[images.size() / 2].file, ignored);
}

fs::path folder_of_images(const fs::path& path, const std::vector<CaptionedImage>& images, const ListedImages& listed) {
  if (listed.archived) return listed.folder;
  if (!listed.folder.empty()) {
    check(holds(listed.folder, images), path.string(), ": the image \"", printable(images.front().file),
          "\" was not found in ", listed.folder.string(), "; correct data.images");
    return listed.folder;
  }
  const fs::path here = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path above = here / "..";
  const std::string stem = path.stem().string();
  const std::string split = stem.substr(std::min(stem.rfind('_') + 1, stem.size()));
  const std::vector<fs::path> places{here,
                                     here / split,
                                     here / "images" / split,
                                     here / "images",
                                     above / split,
                                     above / "images" / split,
                                     above / "images"};
  for (const fs::path& place : places) {
    if (holds(place, images)) return place.lexically_normal();
  }
  fail(path.string(), ": the image \"", printable(images.front().file), "\" was found neither beside it nor in ", split,
       "/ or images/", split, "/ beside it or above it. Name the folder or archive that holds them by data.images");
}

}  // namespace

SampleTable read_coco_captions(const fs::path& path, const ListedImages& listed) {
  std::vector<CaptionedImage> images = images_of(read_json(path, kMaxFile), path);
  check(!images.empty(), path.string(), ": expected images with captions, found none");
  SampleTable table;
  table.root = folder_of_images(path, images, listed);
  for (const CaptionedImage& image : images) table.add(image.file, kNoLabel, image.captions);
  return table;
}

}  // namespace lacuna
