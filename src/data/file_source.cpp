#include "data/file_source.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "data/class_names.h"

namespace lacuna {
namespace {

constexpr std::string_view kBlank = "{}";

template <class T>
std::string_view bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// "acoustic_guitar" reads better as "acoustic guitar" inside a sentence.
std::string spoken(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string filled(std::string sentence, const std::string& name) {
  return sentence.replace(sentence.find(kBlank), kBlank.size(), name);
}

}  // namespace

FileSource::FileSource(FileListing listing, std::vector<std::string> caption_templates, DecodeLimits limits,
                       DecodeOptions decode)
    : root_(std::move(listing.root)),
      templates_(std::move(caption_templates)),
      limits_(limits),
      decode_(std::move(decode)) {
  check(!listing.samples.empty(), root_.string(), ": expected at least one image, found none");
  for (const std::string& sentence : templates_) {
    check(sentence.find(kBlank) != std::string::npos, "caption template \"", sentence,
          "\": expected {} where the name of the class belongs, found none");
  }
  const auto class_count = static_cast<std::int64_t>(listing.classes.size());
  labels_.reserve(listing.samples.size());
  caption_ends_.reserve(listing.samples.size());
  for (const FileSample& sample : listing.samples) {
    invariant(sample.label >= kNoLabel && sample.label < class_count, sample.path, ": label ", sample.label, " of ",
              class_count, " classes");
    paths_.push_back(sample.path);
    labels_.push_back(static_cast<std::int32_t>(sample.label));
    for (const std::string& caption : sample.captions) captions_.push_back(caption);
    caption_ends_.push_back(captions_.size());
  }
  StringList class_list;
  for (const std::string& name : listing.classes) class_list.push_back(name);
  const std::uint64_t parts[] = {paths_.hash(), hash_name(bytes_of(labels_)), captions_.hash(),
                                 hash_name(bytes_of(caption_ends_)), class_list.hash()};
  fingerprint_ = hash_name({reinterpret_cast<const char*>(parts), sizeof(parts)});
  classes_ = translated_class_names(root_, std::move(listing.classes));
}

std::size_t FileSource::checked(std::int64_t index) const {
  invariant(index >= 0 && index < size(), "FileSource: index ", index, " of ", size());
  return static_cast<std::size_t>(index);
}

std::string FileSource::name(std::int64_t index) const { return (root_ / paths_[checked(index)]).string(); }

Image FileSource::image(std::int64_t index) const { return load_image(name(index), limits_, decode_); }

void FileSource::open(std::int64_t index, ImageReader& reader) const {
  const std::string_view path = paths_[checked(index)];
  reader.name.clear();
  if (!path.starts_with('/')) reader.name += root_.native();
  if (!reader.name.empty() && !reader.name.ends_with('/')) reader.name += '/';
  reader.name += path;
  reader.open_file(limits_, decode_);
}

std::int64_t FileSource::label(std::int64_t index) const { return labels_[checked(index)]; }

std::string FileSource::caption(std::int64_t index, Rng& rng) const {
  const std::size_t sample = checked(index);
  const auto begin = static_cast<std::int64_t>(sample == 0 ? 0 : caption_ends_[sample - 1]);
  const auto end = static_cast<std::int64_t>(caption_ends_[sample]);
  if (begin < end) return std::string(captions_[static_cast<std::size_t>(rng.integer(begin, end - 1))]);
  if (templates_.empty() || labels_[sample] == kNoLabel) return {};
  const std::int64_t choice = rng.integer(0, static_cast<std::int64_t>(templates_.size()) - 1);
  return filled(templates_[static_cast<std::size_t>(choice)],
                spoken(classes_[static_cast<std::size_t>(labels_[sample])]));
}

}  // namespace lacuna
