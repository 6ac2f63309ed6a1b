#include "data/source/joined_source.h"

#include <filesystem>
#include <utility>

#include "base/error.h"
#include "data/source/file_source.h"
#include "data/source/mixed_source.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// Images that stand side by side on the command line become one source.
void add_images(std::vector<std::unique_ptr<Source>>& parts, SampleTable& waiting, const DecodeOptions& decode) {
  if (waiting.size() == 0) return;
  parts.push_back(
      std::make_unique<FileSource>(std::exchange(waiting, {}), std::vector<std::string>{}, DecodeLimits{}, decode));
}

}  // namespace

std::unique_ptr<Source> open_images(std::span<const std::string> paths, const SourceConfig& shapes) {
  std::vector<std::unique_ptr<Source>> parts;
  SampleTable waiting;
  for (const std::string& path : paths) {
    if (path != "shapes" && is_image_name(path) && !fs::is_directory(path)) {
      check(fs::exists(path), path, ": no such image");
      waiting.add(path);
      continue;
    }
    add_images(parts, waiting, shapes.decode);
    SourceConfig config = shapes;
    config.path = path;
    parts.push_back(open_source(config, path == "shapes" ? Split::kTrain : Split::kAll));
  }
  add_images(parts, waiting, shapes.decode);
  return std::make_unique<MixedSource>(std::move(parts), std::vector<double>());
}

}  // namespace lacuna
