#include "data/source/table_source.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "data/source/class_names.h"

namespace lacuna {
namespace {

constexpr std::string_view kBlank = "{}";

// "acoustic_guitar" reads better as "acoustic guitar" inside a sentence.
std::string spoken(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string filled(std::string sentence, const std::string& name) {
  return sentence.replace(sentence.find(kBlank), kBlank.size(), name);
}

}  // namespace

TableSource::TableSource(SampleTable table, std::vector<std::string> caption_templates, DecodeLimits limits,
                         DecodeOptions decode)
    : table_(std::move(table)), templates_(std::move(caption_templates)), limits_(limits), decode_(std::move(decode)) {
  check(table_.size() > 0, table_.root.string(), ": expected at least one image, found none");
  for (const std::string& sentence : templates_) {
    check(sentence.find(kBlank) != std::string::npos, "caption template \"", sentence,
          "\": expected {} where the name of the class belongs, found none");
  }
  fingerprint_ = table_.fingerprint();
  classes_ = translated_class_names(table_.root, table_.classes);
}

std::size_t TableSource::checked(std::int64_t index) const {
  invariant(index >= 0 && index < size(), "source: index ", index, " of ", size());
  return static_cast<std::size_t>(index);
}

std::string TableSource::name(std::int64_t index) const {
  std::string name;
  append_name(checked(index), name);
  return name;
}

bool TableSource::encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const {
  read(checked(index), name(index), bytes);
  return true;
}

Image TableSource::image(std::int64_t index) const { return std::move(sheets(index).back()); }

Sheets TableSource::sheets(std::int64_t index) const {
  const std::string name = this->name(index);
  std::vector<std::uint8_t> bytes;
  read(checked(index), name, bytes);
  return decode_sheets(bytes, name, limits_, decode_);
}

void TableSource::open(std::int64_t index, ImageReader& reader) const {
  reader.begin();
  append_name(checked(index), reader.name);
  read(checked(index), reader.name, reader.bytes);
  reader.open(limits_, decode_);
}

std::int64_t TableSource::label(std::int64_t index) const { return table_.labels[checked(index)]; }

std::string TableSource::caption(std::int64_t index, Rng& rng) const {
  const std::size_t sample = checked(index);
  const auto begin = static_cast<std::int64_t>(sample == 0 ? 0 : table_.caption_ends[sample - 1]);
  const auto end = static_cast<std::int64_t>(table_.caption_ends[sample]);
  if (begin < end) return std::string(table_.captions[static_cast<std::size_t>(rng.integer(begin, end - 1))]);
  if (templates_.empty() || table_.labels[sample] == kNoLabel) return {};
  const std::int64_t choice = rng.integer(0, static_cast<std::int64_t>(templates_.size()) - 1);
  return filled(templates_[static_cast<std::size_t>(choice)],
                spoken(classes_[static_cast<std::size_t>(table_.labels[sample])]));
}

std::vector<std::string> TableSource::captions(std::int64_t index) const { return table_.captions_of(checked(index)); }

}  // namespace lacuna
