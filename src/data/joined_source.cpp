#include "data/joined_source.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "data/file_source.h"
#include "data/folder_listing.h"
#include "data/list_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

class JoinedSource final : public Source {
 public:
  explicit JoinedSource(std::vector<std::unique_ptr<Source>> parts) : parts_(std::move(parts)) {
    std::vector<std::uint64_t> prints;
    for (const auto& part : parts_) {
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + part->size());
      prints.push_back(part->fingerprint());
    }
    fingerprint_ = hash_name({reinterpret_cast<const char*>(prints.data()), prints.size() * sizeof(std::uint64_t)});
  }

  std::int64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }
  std::string name(std::int64_t index) const override { return part_of(index).name(index); }
  Image image(std::int64_t index) const override { return part_of(index).image(index); }
  std::int64_t label(std::int64_t) const override { return kNoLabel; }
  std::string caption(std::int64_t index, Rng& rng) const override { return part_of(index).caption(index, rng); }
  const std::vector<std::string>& classes() const override { return no_classes_; }
  std::uint64_t fingerprint() const override { return fingerprint_; }

 private:
  // The part that holds the sample; `index` becomes its place in there.
  const Source& part_of(std::int64_t& index) const {
    invariant(index >= 0 && index < size(), "JoinedSource: index ", index, " of ", size());
    const auto part = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin());
    if (part > 0) index -= ends_[part - 1];
    return *parts_[part];
  }

  std::vector<std::unique_ptr<Source>> parts_;
  std::vector<std::int64_t> ends_;  // of the samples before and in each part
  std::vector<std::string> no_classes_;
  std::uint64_t fingerprint_ = 0;
};

// Images that stand side by side on the command line become one source.
void add_images(std::vector<std::unique_ptr<Source>>& parts, FileListing& waiting) {
  if (waiting.samples.empty()) return;
  parts.push_back(std::make_unique<FileSource>(std::exchange(waiting, {})));
}

}  // namespace

std::unique_ptr<Source> join(std::vector<std::unique_ptr<Source>> parts) {
  return std::make_unique<JoinedSource>(std::move(parts));
}

std::unique_ptr<Source> open_images(std::span<const std::string> paths, const SourceConfig& shapes) {
  std::vector<std::unique_ptr<Source>> parts;
  FileListing waiting;
  for (const std::string& path : paths) {
    const bool folder = fs::is_directory(path);
    if (!folder && path != "shapes" && is_image_name(path)) {
      check(fs::exists(path), path, ": no such image");
      waiting.samples.push_back({.path = path, .captions = {}});
      continue;
    }
    add_images(parts, waiting);
    SourceConfig config = shapes;
    config.path = path;
    parts.push_back(folder ? std::make_unique<FileSource>(list_folder(path)) : open_source(config, Split::kTrain));
  }
  add_images(parts, waiting);
  return join(std::move(parts));
}

}  // namespace lacuna
