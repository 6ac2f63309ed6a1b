#include "data/source/listing.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "data/source/archive_files.h"
#include "data/source/archive_listing.h"
#include "data/source/folder_listing.h"
#include "data/source/list_file.h"
#include "data/source/portable_index.h"
#include "io/files.h"

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
  fail("data.path = \"", path.string(), "\": expected a folder of images, a list (.txt, .tsv, .csv, .jsonl, .json), ",
       "a tar archive or \"shapes\", found nothing: ", present.string(), " holds no \"", missing.string(),
       "\". Correct the path");
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
  if (split == Split::kAll || !is_folder(train)) return root;
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

// Says how far a listing is, once a second.
FoundSoFar teller(const SourceConfig& config, const std::string& what) {
  if (!config.say) return {};
  using Clock = std::chrono::steady_clock;
  struct State {
    std::mutex mutex;
    Clock::time_point next = Clock::now() + std::chrono::seconds(1);
  };
  return [&config, what, state = std::make_shared<State>()](std::int64_t files) {
    const std::lock_guard lock(state->mutex);
    if (Clock::now() < state->next) return;
    state->next = Clock::now() + std::chrono::seconds(1);
    config.say(text("listing ", what, ": ", files, " images so far"));
  };
}

// ---- Archives

// The folders that samples lie in, behind `skip` bytes of their names.
std::set<std::string> top_folders(const std::vector<ArchiveSample>& samples, std::size_t skip) {
  std::set<std::string> folders;
  for (const ArchiveSample& sample : samples) {
    const std::size_t slash = sample.name.find('/', std::min(skip, sample.name.size()));
    if (sample.fault.empty()) folders.insert(slash == std::string::npos ? "" : sample.name.substr(skip, slash - skip));
  }
  return folders;
}

// Keeps what belongs to the split, where the archives hold folders for both.
void keep_split(std::vector<ArchiveSample>& samples, Split split, const std::string& path,
                std::vector<std::string>& notes) {
  if (split == Split::kAll) return;
  const std::string common = common_folder(samples);
  const std::set<std::string> folders = top_folders(samples, common.size());
  const char* val = folders.count("val") != 0 ? "val" : "test";
  if (folders.count("train") == 0 || folders.count(val) == 0) return;
  const bool train = split == Split::kTrain;
  const std::string chosen = common + (train ? "train" : val) + "/", other = common + (train ? val : "train") + "/";
  std::erase_if(samples, [&](const ArchiveSample& sample) {
    return sample.fault.empty() ? !sample.name.starts_with(chosen) : sample.name.starts_with(other);
  });
  notes.push_back(text("reading ", chosen, " of ", path, " (it has a folder for each split)"));
}

void set_archive_labels(SampleTable& table, const std::vector<ArchiveSample>& samples, const SourceConfig& config) {
  if (config.kind == SourceKind::kFolder) return;
  std::vector<std::string> labels;
  labels.reserve(samples.size());
  for (const ArchiveSample& sample : samples) labels.push_back(sample.label);
  if (std::any_of(labels.begin(), labels.end(), [](const std::string& label) { return !label.empty(); }))
    return set_labels(table, labels);
  const std::string common = common_folder(samples);
  const std::set<std::string> folders = top_folders(samples, common.size());
  check(config.kind != SourceKind::kClasses || folders.count("") == 0, config.path,
        ": expected every image in the folder of its class, found images outside. Set data.kind = \"folder\" to read ",
        "them without labels");
  if (folders.size() >= 2 && folders.count("") == 0) set_folder_labels(table, common.size());
}

void note_faults(const SampleTable& table, std::vector<std::string>& notes) {
  if (table.faulty.empty()) return;
  const std::size_t first = table.faulty.front();
  notes.push_back(text(table.faulty.size(), " members of the archives cannot be used and will be replaced; the first: ",
                       table.archives[table.extents[first].archive], ":", table.names[first], ": ",
                       table.fault(first)));
}

// `names` are relative to `root`.
Listing list_archives(const SourceConfig& config, Split split, const fs::path& root, std::vector<std::string> names) {
  Listing listing;
  names = archives_of_split(names, split);
  std::vector<fs::path> plain;
  for (const std::string& name : names) {
    listing.watched.push_back(root / name);
    plain.push_back(plain_archive(root / name, config.cache, config.say));
  }
  std::vector<ArchiveSample> samples = read_archives(plain, teller(config, config.path));
  keep_split(samples, split, config.path, listing.notes);
  const bool usable =
      std::any_of(samples.begin(), samples.end(), [](const auto& sample) { return sample.fault.empty(); });
  check(usable, config.path, ": expected images (.jpg, .png, .webp, .gif, .tif, …) in ",
        names.size() == 1 ? "the archive" : "the archives", ", found none",
        samples.empty() ? "" : text("; the first fault: ", samples.front().fault));
  listing.table.root = root;
  listing.table.archives = std::move(names);
  for (const ArchiveSample& sample : samples) {
    if (sample.fault.empty()) {
      listing.table.add(sample.name, sample.extent, sample.captions);
    } else {
      listing.table.add_fault(sample.name, sample.extent, sample.fault);
    }
  }
  set_archive_labels(listing.table, samples, config);
  const std::size_t classes = listing.table.classes.size();
  listing.notes.push_back(text(config.path, ": ", listing.table.size(), " images in ",
                               counted(listing.table.archives.size(), "archive"),
                               classes == 0 ? " without labels" : ", " + counted(classes, "class", "classes")));
  note_faults(listing.table, listing.notes);
  return listing;
}

Listing list_pattern(const SourceConfig& config, Split split) {
  std::vector<std::string> names;
  fs::path root;
  for (const fs::path& file : archives_of(config.path)) {
    if (names.empty()) root = file.has_parent_path() ? file.parent_path() : fs::path(".");
    names.push_back(file.lexically_relative(root).string());
  }
  return list_archives(config, split, root, std::move(names));
}

// ---- Folders and lists

// What the index beside the shards says; it is read in a moment, so nothing is kept of it.
std::optional<SampleTable> packed_shards(const SourceConfig& config, const fs::path& root,
                                         std::vector<std::string>& notes) {
  if (config.kind != SourceKind::kAuto && config.kind != SourceKind::kArchives) return std::nullopt;
  std::string note;
  auto table = read_portable_index(root, note);
  if (!note.empty()) notes.push_back(note);
  if (table)
    notes.push_back(text(root.string(), ": ", table->size(), " images in ", counted(table->archives.size(), "archive"),
                         ", by the ", kPortableIndex, " there"));
  return table;
}

Listing list_folder(const SourceConfig& config, Split split) {
  Listing listing;
  const fs::path root = folder_of_split(config.path, split, listing.notes);
  if (auto packed = packed_shards(config, root, listing.notes)) {
    listing.table = std::move(*packed);
    return listing;
  }
  FolderScan scan = scan_folder(root, teller(config, root.string()));
  const bool archives =
      config.kind == SourceKind::kArchives || (config.kind == SourceKind::kAuto && scan.images.empty());
  if (archives && !scan.archives.empty()) {
    Listing inside = list_archives(config, split, root, std::move(scan.archives));
    inside.notes.insert(inside.notes.begin(), listing.notes.begin(), listing.notes.end());
    inside.watched.insert(inside.watched.end(), scan.folders.begin(), scan.folders.end());
    return inside;
  }
  check(config.kind != SourceKind::kArchives, root.string(), ": expected tar archives in it or below it, found none");
  if (!scan.archives.empty() && !scan.images.empty())
    listing.notes.push_back(text(root.string(), " holds images and ", counted(scan.archives.size(), "archive"),
                                 ": the images are read. data.kind = \"archives\" reads the archives instead"));
  const FolderLayout layout = config.kind == SourceKind::kFolder    ? FolderLayout::kFlat
                              : config.kind == SourceKind::kClasses ? FolderLayout::kClasses
                                                                    : FolderLayout::kAny;
  listing.watched = {fs::path(config.path)};  // which of its folders is read depends on what is in it
  listing.watched.insert(listing.watched.end(), scan.folders.begin(), scan.folders.end());
  listing.table = list_images(std::move(scan), layout);
  const std::size_t classes = listing.table.classes.size();
  if (config.kind == SourceKind::kAuto)
    listing.notes.push_back(classes == 0 ? text(root.string(), ": ", listing.table.size(), " images without labels")
                                         : text(root.string(), ": ", listing.table.size(), " images in ", classes,
                                                " classes, one for each sub-folder"));
  return listing;
}

std::string said_of_list(const SourceConfig& config, const SampleTable& list) {
  return text(
      config.path, ": ", counted(static_cast<std::int64_t>(list.size()), "image"),
      list.classes.empty() ? "" : ", " + counted(std::ssize(list.classes), "class", "classes"),
      list.captions.size() == 0 ? "" : ", " + counted(static_cast<std::int64_t>(list.captions.size()), "caption"));
}

// A list of members of archives.
Listing list_archived(const SourceConfig& config) {
  const SampleTable list = read_list(config.path, {.archived = true});
  const std::vector<fs::path> archives = archives_of(config.images);
  const fs::path root = archives[0].has_parent_path() ? archives[0].parent_path() : fs::path(".");
  Listing listing{.table = {}, .notes = {}, .watched = {config.path}};
  listing.table.root = root;
  std::vector<fs::path> plain;
  for (const fs::path& archive : archives) {
    listing.watched.push_back(archive);
    listing.table.archives.push_back(archive.lexically_relative(root).string());
    plain.push_back(plain_archive(archive, config.cache, config.say));
  }
  const std::vector<ArchiveSample> members = read_archives(plain, teller(config, config.images));
  const std::size_t skip = common_folder(members).size();
  std::unordered_map<std::string_view, const ArchiveSample*> by_name;
  for (const ArchiveSample& member : members) {
    by_name.try_emplace(member.name, &member);
    if (member.fault.empty()) by_name.try_emplace(std::string_view(member.name).substr(skip), &member);
  }
  std::size_t found = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto member = by_name.find(list.names[i]);
    const bool known = member != by_name.end();
    found += known ? 1 : 0;
    if (known && member->second->fault.empty()) {
      listing.table.add(list.names[i], member->second->extent, list.captions_of(i));
    } else {
      listing.table.add_fault(list.names[i], {}, known ? member->second->fault : "the archives hold no such member");
    }
    listing.table.labels.back() = list.labels[i];
  }
  check(found > 0, config.path, ": expected members of ", config.images, ", found \"", printable(list.names[0]),
        "\", and no such member. Correct the list or data.images");
  listing.table.classes = list.classes;
  listing.notes.push_back(said_of_list(config, listing.table));
  note_faults(listing.table, listing.notes);
  return listing;
}

Listing list_anew(const SourceConfig& config, Split split) {
  const fs::path path = config.path;
  const bool folder = is_folder(path);
  const bool archives = config.kind != SourceKind::kList && is_archive_name(config.path);
  if (!folder && (archives || config.kind == SourceKind::kArchives)) return list_pattern(config, split);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) fail_missing(path);
  if (config.kind == SourceKind::kList || (config.kind == SourceKind::kAuto && !folder)) {
    check(!folder, path.string(), ": expected a list file for data.kind = \"list\", found a folder");
    if (!config.images.empty() && !is_folder(config.images)) return list_archived(config);
    SampleTable list = read_list(path, {.folder = config.images});
    std::vector<std::string> notes{said_of_list(config, list)};
    return {std::move(list), std::move(notes), {path}};
  }
  check(config.images.empty(), "data.images: serves a list of images; ", path.string(), " is none");
  check(folder, path.string(), ": expected a folder for this data.kind, found a file");
  return list_folder(config, split);
}

}  // namespace

std::string key_of(const SourceConfig& config, Split split) {
  std::error_code ignored;
  return text(fs::absolute(config.path, ignored).lexically_normal().string(), '|', static_cast<int>(config.kind), '|',
              static_cast<int>(split), '|', config.images);
}

Listing list_samples(const SourceConfig& config, Split split) {
  check(!config.path.empty(),
        "data.path: expected a folder of images, a list, tar archives or \"shapes\", found nothing");
  const IndexCache cache(config.cache);
  const std::string key = key_of(config, split);
  if (auto kept = cache.find(key)) return std::move(*kept);
  const std::int64_t began = IndexCache::now_ns();
  Listing listing = list_anew(config, split);
  if (listing.watched.empty()) return listing;
  if (const auto note = cache.keep(key, listing, began)) listing.notes.push_back(*note);
  return listing;
}

}  // namespace lacuna
