#include "data/source/folder_listing.h"

#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "data/source/text_file.h"
#include "io/image/image.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr int kThreads = 8;  // they wait for the disk, not for a core

std::string ending_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string() : lower_case(name.substr(dot));
}

// What one folder holds, by names relative to the root.
struct Found {
  std::vector<std::string> images, archives, folders;
  std::map<std::string, std::int64_t> others;
  bool linked_folder = false;

  void add(Found&& more) {
    std::move(more.images.begin(), more.images.end(), std::back_inserter(images));
    std::move(more.archives.begin(), more.archives.end(), std::back_inserter(archives));
    for (const auto& [ending, count] : more.others) others[ending] += count;
    linked_folder |= more.linked_folder;
  }
};

Found read_folder(const fs::path& folder, const std::string& prefix) {
  Found found;
  std::error_code error, ignored;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with('.')) continue;
    if (entry->is_directory(ignored)) {
      found.folders.push_back(prefix + name);
      found.linked_folder |= entry->is_symlink(ignored);
      continue;
    }
    const bool readable = entry->is_regular_file(ignored) || !entry->exists(ignored);  // no pipes, sockets, devices
    if (readable && is_image_name(name)) {
      found.images.push_back(prefix + name);
    } else if (readable && is_archive_name(name)) {
      found.archives.push_back(prefix + name);
    } else {
      ++found.others[ending_of(name)];
    }
  }
  check(!error, folder.string(), ": the folder cannot be listed (", error.message(), "); check its permissions");
  std::sort(found.folders.begin(), found.folders.end());
  return found;
}

// Folders one after the other, each once, in the order of their names.
class OrderedScan {
 public:
  OrderedScan(fs::path root, const FoundSoFar& tell) : root_(std::move(root)), tell_(tell) { visit(root_, ""); }

  Found all;
  std::vector<fs::path> folders;

 private:
  void visit(const fs::path& folder, const std::string& prefix) {
    struct stat status {};
    check(::stat(folder.c_str(), &status) == 0, folder.string(), ": the folder cannot be read");
    if (!visited_.emplace(status.st_dev, status.st_ino).second) return;
    folders.push_back(folder);
    Found found = read_folder(folder, prefix);
    const std::vector<std::string> below = std::move(found.folders);
    all.add(std::move(found));
    if (tell_) tell_(std::ssize(all.images));
    for (const std::string& name : below) visit(root_ / name, name + '/');
  }

  fs::path root_;
  const FoundSoFar& tell_;
  std::set<std::pair<dev_t, ino_t>> visited_;
};

// Several folders at a time, as long as no link leads to one.
class ParallelScan {
 public:
  ParallelScan(fs::path root, const FoundSoFar& tell) : root_(std::move(root)), tell_(tell), waiting_{""} {
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    if (failure_) std::rethrow_exception(failure_);
  }

  Found all;
  std::vector<fs::path> folders;

 private:
  bool ended() const { return failure_ || all.linked_folder || (waiting_.empty() && busy_ == 0); }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ended() || !waiting_.empty(); });
      if (ended()) break;
      const std::string name = std::move(waiting_.front());
      waiting_.pop_front();
      ++busy_;
      lock.unlock();
      Found found;
      std::exception_ptr failure;
      try {
        found = read_folder(name.empty() ? root_ : root_ / name, name.empty() ? name : name + '/');
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      --busy_;
      if (failure) failure_ = failure;
      note(name, std::move(found));
    }
    changed_.notify_all();
  }

  void note(const std::string& name, Found found) {
    folders.push_back(name.empty() ? root_ : root_ / name);
    for (std::string& below : found.folders) waiting_.push_back(std::move(below));
    found.folders.clear();
    all.add(std::move(found));
    if (tell_) tell_(std::ssize(all.images));
    changed_.notify_all();
  }

  fs::path root_;
  const FoundSoFar& tell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;
  int busy_ = 0;
  std::exception_ptr failure_;
};

std::string other_files(const std::map<std::string, std::int64_t>& others) {
  std::vector<std::pair<std::int64_t, std::string>> kinds;
  std::int64_t total = 0;
  for (const auto& [ending, count] : others) {
    kinds.emplace_back(count, ending);
    total += count;
  }
  if (total == 0) return "no files at all";
  std::sort(kinds.begin(), kinds.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  constexpr std::size_t kNamed = 4;
  std::string listed;
  for (std::size_t i = 0; i < std::min(kinds.size(), kNamed); ++i) {
    listed += text(i ? ", " : "", kinds[i].first, " ", kinds[i].second.empty() ? "without ending" : kinds[i].second);
  }
  return text("none, but ", total, " other files (", listed, kinds.size() > kNamed ? ", ..." : "", ")");
}

template <class Scan>
FolderScan sorted(const fs::path& root, Scan& scan) {
  std::sort(scan.all.images.begin(), scan.all.images.end());
  std::sort(scan.all.archives.begin(), scan.all.archives.end());
  return {root, std::move(scan.all.images), std::move(scan.all.archives), std::move(scan.folders),
          other_files(scan.all.others)};
}

bool at_top(const std::string& path) { return path.find('/') == std::string::npos; }

bool has_class_folders(const std::vector<std::string>& images) {
  const std::string_view first = std::string_view(images.front()).substr(0, images.front().find('/') + 1);
  return std::none_of(images.begin(), images.end(), at_top) &&
         std::any_of(images.begin(), images.end(), [&](const std::string& path) { return !path.starts_with(first); });
}

}  // namespace

bool is_archive_name(std::string_view name) {
  const std::string lower = lower_case(name);
  for (const char* ending : {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"}) {
    if (lower.ends_with(ending)) return true;
  }
  return false;
}

FolderScan scan_folder(const fs::path& root, const FoundSoFar& found) {
  ParallelScan scan(root, found);
  if (!scan.all.linked_folder) return sorted(root, scan);
  OrderedScan again(root, found);
  return sorted(root, again);
}

SampleTable list_images(FolderScan scan, FolderLayout layout) {
  check(
      !scan.images.empty(), scan.root.string(),
      ": expected images (.jpg, .png, .webp, .gif, .tif, …) in it or below it, found ", scan.others,
      ". Name the folder that holds the images, a tar archive, a list of images (.txt, .tsv, .csv, .jsonl or .json), ",
      "or \"shapes\" for built-in synthetic images");
  if (layout == FolderLayout::kAny) {
    layout = has_class_folders(scan.images) ? FolderLayout::kClasses : FolderLayout::kFlat;
  }
  const auto outside = std::count_if(scan.images.begin(), scan.images.end(), at_top);
  if (layout == FolderLayout::kClasses && outside > 0) {
    fail(scan.root.string(), ": expected every image in the folder of its class, found ", outside,
         " outside (first: ", *std::find_if(scan.images.begin(), scan.images.end(), at_top),
         "). Move them into class folders, or set data.kind = \"folder\" to read the images without labels");
  }
  SampleTable table;
  table.root = std::move(scan.root);
  for (const std::string& path : scan.images) table.add(path);
  if (layout == FolderLayout::kClasses) set_folder_labels(table);
  return table;
}

}  // namespace lacuna
