#include "data/source/list_file.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "data/source/coco_captions.h"
#include "data/source/text_file.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// One line of a list, whatever its format.
struct Entry {
  std::string path;
  std::string label;  // empty: none
  std::vector<std::string> captions;
};

class ListBuilder {
 public:
  ListBuilder(fs::path list, ListedImages images) : list_(std::move(list)), images_(std::move(images)) {}

  void add(Entry entry, const std::string& place) {
    check(!entry.path.empty(), place, ": expected the path of an image, found an empty field");
    std::erase(entry.captions, std::string());
    if (!entry.captions.empty()) {
      const auto [known, is_new] = captioned_.try_emplace(entry.path, entries_.size());
      if (!is_new) return merge(entries_[known->second], std::move(entry), place);
    }
    entries_.push_back(std::move(entry));
  }

  SampleTable finish() {
    check(!entries_.empty(), list_.string(), ": expected at least one image, found an empty list");
    SampleTable table;
    table.root = !images_.folder.empty() ? images_.folder : list_.has_parent_path() ? list_.parent_path() : ".";
    if (!images_.archived) probe(table.root);
    std::vector<std::string> labels;
    labels.reserve(entries_.size());
    for (Entry& entry : entries_) {
      table.add(entry.path, kNoLabel, entry.captions);
      labels.push_back(std::move(entry.label));
    }
    set_labels(table, labels);
    return table;
  }

 private:
  static void merge(Entry& known, Entry more, const std::string& place) {
    check(known.label == more.label, place, ": ", printable(more.path), " has the label \"", printable(more.label),
          "\", but an earlier line gave it \"", printable(known.label), "\"; an image has one label");
    for (std::string& caption : more.captions) known.captions.push_back(std::move(caption));
  }

  // A list beside the wrong folder misses all its images: worth a sentence of its own, before training starts.
  void probe(const fs::path& root) const {
    std::error_code ignored;
    for (const std::size_t i : {std::size_t{0}, entries_.size() / 2, entries_.size() - 1}) {
      if (fs::exists(root / entries_[i].path, ignored)) return;
    }
    fail(list_.string(), ": expected paths relative to ", images_.folder.empty() ? "the list's folder" : "data.images",
         ", or absolute ones, found \"", printable(entries_.front().path), "\", and no such file in ", root.string(),
         ". Name the folder or archive that holds them by data.images");
  }

  fs::path list_;
  ListedImages images_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> captioned_;  // path -> entry with captions
};

void read_tabbed(TextFile& file, ListBuilder& list) {
  std::string line;
  while (file.line(line)) {
    if (line.empty()) continue;
    std::vector<std::string> fields = split(line, '\t');
    check(fields.size() <= 3, file.place(), ": expected path, label and caption separated by tabs, found ",
          fields.size(), " fields");
    fields.resize(3);
    list.add({fields[0], fields[1], {fields[2]}}, file.place());
  }
}

// RFC 4180: fields in quotes may hold commas, line ends and doubled quotes.
class CsvReader {
 public:
  explicit CsvReader(TextFile& file) : file_(file) {}

  // False at the end of the file. Lines without any text are skipped.
  bool record(std::vector<std::string>& fields) {
    do {
      fields.clear();
      size_ = 0;
      if ((byte_ = file_.get()) < 0) return false;
      start_ = file_.line_number();
      fields.push_back(field());
      while (byte_ == ',') {
        byte_ = file_.get();
        fields.push_back(field());
      }
    } while (fields.size() == 1 && fields[0].empty());
    return true;
  }

  std::string place() const { return file_.place(start_); }

 private:
  // From the first byte of a field (in byte_) to the separator behind it.
  std::string field() {
    std::string out;
    if (byte_ == '"') {
      quoted(out);
      const char last = static_cast<char>(byte_);
      check(byte_ == ',' || byte_ == '\n' || byte_ < 0, place(), ": expected a comma or the end of the line after a ",
            "closing quote, found '", printable({&last, 1}), "'; quotes inside a quoted field are doubled");
      return out;
    }
    for (; byte_ >= 0 && byte_ != ',' && byte_ != '\n'; byte_ = file_.get()) keep(out);
    return out;
  }

  void quoted(std::string& out) {
    for (byte_ = file_.get();; byte_ = file_.get()) {
      check(byte_ >= 0, place(), ": a quote is opened here and never closed");
      if (byte_ == '"' && (byte_ = file_.get()) != '"') return;
      keep(out);
    }
  }

  void keep(std::string& out) {
    if (++size_ > TextFile::kMaxRecord)
      fail(place(), ": the record is longer than ", TextFile::kMaxRecord, " bytes; is a quote left open?");
    out.push_back(static_cast<char>(byte_));
  }

  TextFile& file_;
  int byte_ = 0;
  std::int64_t start_ = 1;
  std::size_t size_ = 0;
};

std::optional<std::size_t> column(const std::vector<std::string>& header, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (lower_case(header[i]) == name) return i;
    }
  }
  return std::nullopt;
}

void read_csv(TextFile& file, ListBuilder& list) {
  CsvReader csv(file);
  std::vector<std::string> header;
  if (!csv.record(header)) return;
  const auto path = column(header, {"image", "path", "filename", "file_name"});
  const auto label = column(header, {"label", "class"});
  const auto caption = column(header, {"caption"});
  std::string found;
  for (const std::string& name : header) found += (found.empty() ? "\"" : ", \"") + printable(name, 40) + "\"";
  check(path.has_value(), csv.place(), ": expected a header line with a column image (or path, filename), found ",
        found);
  std::vector<std::string> fields;
  while (csv.record(fields)) {
    check(fields.size() == header.size(), csv.place(), ": expected ", header.size(), " fields as in the header, found ",
          fields.size(), "; fields that hold a comma need quotes");
    Entry entry{fields[*path], label ? fields[*label] : "", {}};
    if (caption) entry.captions.push_back(fields[*caption]);
    list.add(std::move(entry), csv.place());
  }
}

std::string label_text(const nlohmann::json& value, const std::string& place) {
  if (value.is_null()) return {};
  if (value.is_string()) return value.get<std::string>();
  check(value.is_number_integer(), place, ": expected a number or a name as the label, found ", value.type_name());
  return value.dump();
}

std::string caption_text(const nlohmann::json& value, const std::string& place) {
  check(value.is_string(), place, ": expected a text as the caption, found ", value.type_name());
  return value.get<std::string>();
}

Entry entry_of(const nlohmann::json& object, const std::string& place) {
  Entry entry;
  for (const char* key : {"path", "image", "file_name"}) {
    if (!object.contains(key)) continue;
    check(object[key].is_string(), place, ": expected a text under \"", key, "\", found ", object[key].type_name());
    entry.path = object[key].get<std::string>();
    check(entry.path.find('\0') == std::string::npos, place, ": the path holds a NUL character");
    break;
  }
  check(!entry.path.empty(), place,
        ": expected the image's path under \"path\", \"image\" or \"file_name\", found none");
  for (const char* key : {"label", "class"}) {
    if (object.contains(key)) entry.label = label_text(object[key], place);
  }
  if (object.contains("caption")) entry.captions.push_back(caption_text(object["caption"], place));
  if (object.contains("captions")) {
    check(object["captions"].is_array(), place, ": expected a list under \"captions\", found ",
          object["captions"].type_name());
    for (const nlohmann::json& caption : object["captions"]) entry.captions.push_back(caption_text(caption, place));
  }
  return entry;
}

void read_jsonl(TextFile& file, ListBuilder& list) {
  std::string line;
  while (file.line(line)) {
    if (line.empty()) continue;
    const auto object = nlohmann::json::parse(line, nullptr, false);
    check(object.is_object(), file.place(), ": expected one JSON object a line, found ",
          object.is_discarded() ? "text that is no JSON" : object.type_name());
    list.add(entry_of(object, file.place()), file.place());
  }
}

}  // namespace

bool is_list_file(const fs::path& path) {
  const std::string ending = lower_case(path.extension().string());
  return ending == ".txt" || ending == ".tsv" || ending == ".csv" || ending == ".jsonl" || ending == ".json";
}

SampleTable read_list(const fs::path& path, const ListedImages& images) {
  check(is_list_file(path), path.string(), ": expected a list that ends in .txt, .tsv, .csv, .jsonl or .json");
  std::error_code ignored;
  check(fs::is_regular_file(path, ignored), path.string(), ": expected a list file, found ",
        fs::exists(path, ignored) ? "something else" : "nothing");
  const std::string ending = lower_case(path.extension().string());
  if (ending == ".json") return read_coco_captions(path, images);
  TextFile file(path);
  ListBuilder list(path, images);
  if (ending == ".csv") {
    read_csv(file, list);
  } else if (ending == ".jsonl") {
    read_jsonl(file, list);
  } else {
    read_tabbed(file, list);
  }
  return list.finish();
}

}  // namespace lacuna
