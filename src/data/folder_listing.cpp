#include "data/folder_listing.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/text_file.h"
#include "io/image.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

std::string ending_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string() : lower_case(name.substr(dot));
}

class FolderScan {
 public:
  explicit FolderScan(fs::path root) : root_(std::move(root)) {
    visit(root_, "");
    std::sort(images_.begin(), images_.end());
    check(!images_.empty(), root_.string(), ": expected images (.jpg, .jpeg, .png or .webp) in it or below it, found ",
          others(),
          ". Name the folder that holds the images (archives must be unpacked), a list of images (.txt, .tsv, ",
          ".csv or .jsonl), or \"shapes\" for built-in synthetic images");
  }

  const fs::path& root() const { return root_; }
  std::vector<std::string>& images() { return images_; }

  // Images that lie in the root itself, as a count and the first of them.
  std::int64_t images_at_top() const { return std::count_if(images_.begin(), images_.end(), at_top); }
  std::string first_at_top() const { return *std::find_if(images_.begin(), images_.end(), at_top); }

  // Sub-folders of the root with an image below them.
  std::vector<std::string> folders() const {
    std::vector<std::string> names;
    for (const std::string& path : images_) {
      const std::size_t slash = path.find('/');
      if (slash == std::string::npos) continue;
      if (names.empty() || path.compare(0, slash, names.back()) != 0) names.push_back(path.substr(0, slash));
    }
    // By bytes of the name alone: in paths, "a-b/" comes before "a/", but the name "a" before "a-b".
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  static bool at_top(const std::string& path) { return path.find('/') == std::string::npos; }

  void visit(const fs::path& folder, const std::string& prefix) {
    struct stat status {};
    check(::stat(folder.c_str(), &status) == 0, folder.string(), ": the folder cannot be read");
    if (!visited_.emplace(status.st_dev, status.st_ino).second) return;
    std::vector<std::string> below;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with('.')) continue;
      std::error_code ignored;
      if (entry->is_directory(ignored)) {
        below.push_back(name);
      } else {
        note_file(*entry, name, prefix);
      }
    }
    check(!error, folder.string(), ": the folder cannot be listed (", error.message(), "); check its permissions");
    std::sort(below.begin(), below.end());
    for (const std::string& name : below) visit(folder / name, prefix + name + '/');
  }

  void note_file(const fs::directory_entry& entry, const std::string& name, const std::string& prefix) {
    std::error_code ignored;
    const bool readable = entry.is_regular_file(ignored) || !entry.exists(ignored);  // no pipes, sockets, devices
    if (readable && is_image_name(name)) {
      images_.push_back(prefix + name);
    } else {
      ++others_[ending_of(name)];
    }
  }

  // "12 other files (10 .tar, 2 .txt)"
  std::string others() const {
    std::vector<std::pair<std::int64_t, std::string>> kinds;
    std::int64_t total = 0;
    for (const auto& [ending, count] : others_) {
      kinds.emplace_back(count, ending);
      total += count;
    }
    if (total == 0) return "no files at all";
    std::sort(kinds.begin(), kinds.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    constexpr std::size_t kNamed = 4;
    std::string listed;
    for (std::size_t i = 0; i < std::min(kinds.size(), kNamed); ++i) {
      listed += text(i ? ", " : "", kinds[i].first, " ", kinds[i].second.empty() ? "without ending" : kinds[i].second);
    }
    return text("none, but ", total, " other files (", listed, kinds.size() > kNamed ? ", ..." : "", ")");
  }

  fs::path root_;
  std::vector<std::string> images_;  // relative to the root
  std::map<std::string, std::int64_t> others_;
  std::set<std::pair<dev_t, ino_t>> visited_;
};

FileListing flat(FolderScan& scan) {
  FileListing listing{scan.root(), {}, {}};
  listing.samples.reserve(scan.images().size());
  for (std::string& path : scan.images()) listing.samples.push_back({std::move(path), kNoLabel, {}});
  return listing;
}

FileListing labelled(FolderScan& scan) {
  if (const std::int64_t outside = scan.images_at_top(); outside > 0) {
    fail(scan.root().string(), ": expected every image in the folder of its class, found ", outside,
         " outside (first: ", scan.first_at_top(),
         "). Move them into class folders, or set data.kind = \"folder\" to read the images without labels");
  }
  FileListing listing{scan.root(), {}, scan.folders()};
  listing.samples.reserve(scan.images().size());
  for (std::string& path : scan.images()) {
    const auto found = std::lower_bound(listing.classes.begin(), listing.classes.end(), path.substr(0, path.find('/')));
    listing.samples.push_back({std::move(path), found - listing.classes.begin(), {}});
  }
  return listing;
}

}  // namespace

FileListing list_folder(const fs::path& root) {
  FolderScan scan(root);
  return flat(scan);
}

FileListing list_class_folders(const fs::path& root) {
  FolderScan scan(root);
  return labelled(scan);
}

FileListing list_any_folder(const fs::path& root) {
  FolderScan scan(root);
  return scan.images_at_top() == 0 && scan.folders().size() >= 2 ? labelled(scan) : flat(scan);
}

}  // namespace lacuna
