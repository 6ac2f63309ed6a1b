#include "data/source/open_source.h"

#include <utility>

#include "base/cores.h"
#include "base/error.h"
#include "data/source/archive_files.h"
#include "data/source/archive_source.h"
#include "data/source/decoded_source.h"
#include "data/source/file_source.h"
#include "data/source/folder_listing.h"
#include "data/source/listing.h"
#include "data/source/mixed_source.h"
#include "io/files.h"
#include "io/image/image.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// Parity keeps the splits apart for every pair of user seeds.
std::uint64_t shapes_seed(std::uint64_t seed, Split split) { return 2 * seed + (split == Split::kVal ? 1 : 0); }

bool is_generated(const SourceConfig& config) {
  return config.kind == SourceKind::kShapes || (config.kind == SourceKind::kAuto && config.path == "shapes");
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// A look at the top, so that a large folder of images is not listed for the question.
bool may_be_archives(const SourceConfig& config) {
  if (config.kind != SourceKind::kArchives && config.kind != SourceKind::kAuto) return false;
  if (!is_folder(config.path)) return is_archive_name(config.path);
  std::error_code error;
  for (fs::directory_iterator entry(config.path, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (is_archive_name(name)) return true;
    if (config.kind == SourceKind::kAuto && is_image_name(name)) return false;  // where there are images, they are read
  }
  return false;
}

std::unique_ptr<Source> source_of(SampleTable table, const SourceConfig& config) {
  if (table.archives.empty())
    return std::make_unique<FileSource>(std::move(table), config.class_captions, DecodeLimits{}, config.decode);
  std::vector<fs::path> plain;
  for (const std::string& archive : table.archives)
    plain.push_back(plain_archive(table.root / archive, config.cache, config.say));
  return std::make_unique<ArchiveSource>(std::move(table), std::move(plain), config.class_captions, DecodeLimits{},
                                         config.decode);
}

std::unique_ptr<Source> decoded(std::unique_ptr<Source> source, const SourceConfig& config, Split split) {
  check(!config.cache.empty(), "data.decoded_side: images are kept in data.cache, which is off; name a folder by it");
  const DecodeOptions& how = config.decode;
  std::string options = text(how.orient, how.scale_gray16);
  for (const int band : how.bands) options += text(',', band);
  for (const int band : how.spectrum) options += text('|', band);
  if (how.range) options += text(" of ", (*how.range)[0], " to ", (*how.range)[1]);
  const std::string key = text(key_of(config, split), '|', options, '|', config.decoded_side);
  ContentHash name;
  name.update(std::as_bytes(std::span(key.data(), key.size())));
  return keep_decoded(std::move(source), {.file = config.cache / "decoded" / (name.hex() + ".pixels"),
                                          .side = config.decoded_side,
                                          .options = options,
                                          .threads = usable_cores(),
                                          .say = config.say});
}

std::unique_ptr<Source> open_one(const SourceConfig& config, Split split, std::vector<std::string>* notes) {
  if (is_generated(config)) {
    check(config.decode.bands.empty() && config.decode.spectrum.empty(),
          "data.bands: scenes of \"shapes\" are RGB and have no other channels");
    return make_shapes_source(
        {.size = config.size, .seed = shapes_seed(config.seed, split), .side = config.side, .label = config.label});
  }
  Listing listing = list_samples(config, split);
  if (notes) notes->insert(notes->end(), listing.notes.begin(), listing.notes.end());
  auto source = source_of(std::move(listing.table), config);
  return config.decoded_side == 0 ? std::move(source) : decoded(std::move(source), config, split);
}

}  // namespace

std::unique_ptr<Source> open_source(const SourceConfig& config, Split split, std::vector<std::string>* notes) {
  check(!config.also.empty() || config.weights.empty(), "data.weights: given for one source; name others by data.also");
  if (config.also.empty()) return open_one(config, split, notes);
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(open_one(config, split, notes));
  SourceConfig other = config;
  other.kind = SourceKind::kAuto;
  other.images.clear();
  for (const std::string& path : config.also) {
    other.path = path;
    sources.push_back(open_one(other, split, notes));
  }
  return std::make_unique<MixedSource>(std::move(sources), config.weights);
}

bool has_splits(const SourceConfig& config) {
  if (is_generated(config) || is_folder(fs::path(config.path) / "val")) return true;
  if (!may_be_archives(config)) return false;
  const Listing train = list_samples(config, Split::kTrain), val = list_samples(config, Split::kVal);
  return !train.table.archives.empty() && train.table.fingerprint() != val.table.fingerprint();
}

}  // namespace lacuna
