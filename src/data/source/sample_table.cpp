#include "data/source/sample_table.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <system_error>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {
namespace {

constexpr std::int64_t kMaxNumericLabel = (1 << 20) - 1;  // bounds the list of class names a stray number can ask for

template <class T>
std::string_view bytes_of(const std::vector<T>& values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

StringList as_list(const std::vector<std::string>& items) {
  StringList list;
  for (const std::string& item : items) list.push_back(item);
  return list;
}

std::vector<std::string> as_vector(const StringList& list) {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < list.size(); ++i) items.emplace_back(list[i]);
  return items;
}

class Writer {
 public:
  void bytes(std::string_view value) {
    const std::uint64_t size = value.size();
    out_.append(reinterpret_cast<const char*>(&size), sizeof size);
    out_ += value;
  }
  void list(const StringList& value) {
    bytes(value.bytes());
    bytes(bytes_of(value.ends()));
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  std::string_view bytes() {
    std::uint64_t size = 0;
    if (in_.size() < sizeof size) fail_data("a table of samples that ends too early");
    std::memcpy(&size, in_.data(), sizeof size);
    in_.remove_prefix(sizeof size);
    if (size > in_.size()) fail_data("a table of samples that ends too early");
    const std::string_view value = in_.substr(0, static_cast<std::size_t>(size));
    in_.remove_prefix(value.size());
    return value;
  }
  template <class T>
  std::vector<T> column() {
    const std::string_view raw = bytes();
    if (raw.size() % sizeof(T) != 0) fail_data("a table of samples with half an entry");
    std::vector<T> values(raw.size() / sizeof(T));
    if (!raw.empty()) std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }
  StringList list() {
    std::string text(bytes());
    return {std::move(text), column<std::uint64_t>()};
  }
  bool at_end() const { return in_.empty(); }

 private:
  std::string_view in_;
};

// An Extent has padding, whose bytes are nobody's; columns have none.
struct ExtentColumns {
  std::vector<std::uint32_t> archive;
  std::vector<std::uint64_t> offset, size;
};

ExtentColumns columns_of(const std::vector<Extent>& extents) {
  ExtentColumns columns;
  for (const Extent& extent : extents) {
    columns.archive.push_back(extent.archive);
    columns.offset.push_back(extent.offset);
    columns.size.push_back(extent.size);
  }
  return columns;
}

bool fits(const SampleTable& table) {
  const std::size_t count = table.names.size();
  const auto classes = static_cast<std::int64_t>(table.classes.size());
  const auto label_fits = [classes](std::int32_t label) { return label >= kNoLabel && label < classes; };
  const auto extent_fits = [&table](const Extent& extent) { return extent.archive < table.archives.size(); };
  return table.labels.size() == count && table.caption_ends.size() == count &&
         std::all_of(table.labels.begin(), table.labels.end(), label_fits) &&
         std::is_sorted(table.caption_ends.begin(), table.caption_ends.end()) &&
         (count == 0 || table.caption_ends.back() == table.captions.size()) &&
         table.extents.size() == (table.archives.empty() ? 0 : count) &&
         std::all_of(table.extents.begin(), table.extents.end(), extent_fits) &&
         table.faulty.size() == table.faults.size() &&
         std::is_sorted(table.faulty.begin(), table.faulty.end(), std::less_equal<>()) &&
         (table.faulty.empty() || table.faulty.back() < count);
}

std::optional<std::int64_t> number(const std::string& label) {
  std::int64_t value = 0;
  const char* end = label.data() + label.size();
  const auto [stopped, error] = std::from_chars(label.data(), end, value);
  if (error != std::errc() || stopped != end || value < 0 || value > kMaxNumericLabel) return std::nullopt;
  return value;
}

std::vector<std::string> numbered_classes(std::span<const std::string> labels) {
  std::int64_t count = 0;
  for (const std::string& label : labels) {
    if (!label.empty()) count = std::max(count, *number(label) + 1);
  }
  std::vector<std::string> classes;
  for (std::int64_t i = 0; i < count; ++i) classes.push_back(std::to_string(i));
  return classes;
}

template <class Names>
std::vector<std::string> distinct(const Names& names) {
  std::set<std::string, std::less<>> seen;
  for (const auto& name : names) {
    if (!name.empty() && seen.find(name) == seen.end()) seen.emplace(name);
  }
  return {seen.begin(), seen.end()};
}

std::int32_t position(const std::vector<std::string>& sorted, std::string_view name) {
  return static_cast<std::int32_t>(std::lower_bound(sorted.begin(), sorted.end(), name) - sorted.begin());
}

}  // namespace

void SampleTable::add(std::string_view name, std::int64_t label, std::span<const std::string> captions_of_it) {
  names.push_back(name);
  labels.push_back(static_cast<std::int32_t>(label));
  for (const std::string& caption : captions_of_it) captions.push_back(caption);
  caption_ends.push_back(captions.size());
}

void SampleTable::add(std::string_view name, const Extent& extent, std::span<const std::string> captions_of_it) {
  add(name, kNoLabel, captions_of_it);
  extents.push_back(extent);
}

void SampleTable::add_fault(std::string_view name, const Extent& extent, std::string_view reason) {
  faulty.push_back(names.size());
  faults.push_back(reason);
  add(name, extent);
}

std::string_view SampleTable::fault(std::size_t sample) const {
  const auto found = std::lower_bound(faulty.begin(), faulty.end(), sample);
  if (found == faulty.end() || *found != sample) return {};
  return faults[static_cast<std::size_t>(found - faulty.begin())];
}

std::vector<std::string> SampleTable::captions_of(std::size_t sample) const {
  std::vector<std::string> all;
  for (std::size_t i = sample == 0 ? 0 : caption_ends[sample - 1]; i < caption_ends[sample]; ++i)
    all.emplace_back(captions[i]);
  return all;
}

std::uint64_t SampleTable::fingerprint() const {
  std::vector<std::uint64_t> parts{names.hash(), hash_name(bytes_of(labels)), captions.hash(),
                                   hash_name(bytes_of(caption_ends)), as_list(classes).hash()};
  if (!archives.empty()) {
    parts.push_back(as_list(archives).hash());
    parts.push_back(hash_name(bytes_of(columns_of(extents).archive)));
  }
  return hash_name(bytes_of(parts));
}

std::string SampleTable::to_bytes() const {
  const ExtentColumns places = columns_of(extents);
  Writer out;
  for (const StringList* list : {&names, &captions, &faults}) out.list(*list);
  out.list(as_list(classes));
  out.list(as_list(archives));
  out.bytes(bytes_of(labels));
  out.bytes(bytes_of(caption_ends));
  out.bytes(bytes_of(faulty));
  out.bytes(bytes_of(places.archive));
  out.bytes(bytes_of(places.offset));
  out.bytes(bytes_of(places.size));
  return out.take();
}

SampleTable SampleTable::from_bytes(std::string_view bytes) {
  Reader in(bytes);
  SampleTable table;
  for (StringList* list : {&table.names, &table.captions, &table.faults}) *list = in.list();
  table.classes = as_vector(in.list());
  table.archives = as_vector(in.list());
  table.labels = in.column<std::int32_t>();
  table.caption_ends = in.column<std::uint64_t>();
  table.faulty = in.column<std::uint64_t>();
  const auto archive = in.column<std::uint32_t>();
  const auto offset = in.column<std::uint64_t>(), size = in.column<std::uint64_t>();
  if (archive.size() != offset.size() || offset.size() != size.size() || !in.at_end())
    fail_data("a table of samples whose columns differ in length");
  table.extents.reserve(archive.size());
  for (std::size_t i = 0; i < archive.size(); ++i) table.extents.push_back({archive[i], offset[i], size[i]});
  if (!fits(table)) fail_data("a table of samples whose columns do not fit together");
  return table;
}

void set_labels(SampleTable& table, std::span<const std::string> labels) {
  invariant(labels.size() == table.size(), "set_labels: ", labels.size(), " labels for ", table.size(), " samples");
  const bool numeric = std::all_of(labels.begin(), labels.end(),
                                   [](const std::string& label) { return label.empty() || number(label).has_value(); });
  table.classes = numeric ? numbered_classes(labels) : distinct(labels);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].empty()) continue;
    table.labels[i] = numeric ? static_cast<std::int32_t>(*number(labels[i])) : position(table.classes, labels[i]);
  }
}

void set_folder_labels(SampleTable& table, std::size_t skip) {
  std::vector<std::string_view> folders(table.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    const std::string_view name = table.names[i].substr(std::min(skip, table.names[i].size()));
    const std::size_t slash = name.find('/');
    if (slash != std::string_view::npos && table.fault(i).empty()) folders[i] = name.substr(0, slash);
  }
  // By bytes of the name alone: in paths, "a-b/" comes before "a/", but the name "a" before "a-b".
  table.classes = distinct(folders);
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (!folders[i].empty()) table.labels[i] = position(table.classes, folders[i]);
  }
}

}  // namespace lacuna
