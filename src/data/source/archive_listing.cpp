#include "data/source/archive_listing.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/cores.h"
#include "base/error.h"
#include "data/parallel.h"
#include "data/source/text_file.h"
#include "io/files.h"
#include "io/image/image.h"
#include "io/positioned_file.h"
#include "io/tar.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNames = 1'000'000;
constexpr std::uint64_t kMaxText = std::uint64_t{1} << 20;  // of a caption, label or json member

// ---- Patterns

std::vector<std::string> numbers_between(const std::string& first, const std::string& last, std::string_view pattern) {
  std::uint64_t from = 0, to = 0;
  const auto parse = [](const std::string& digits, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  check(parse(first, from) && parse(last, to) && from <= to, printable(pattern), ": expected {FIRST..LAST} with FIRST ",
        "not above LAST, found {", printable(first), "..", printable(last), "}");
  check(to - from < kMaxNames, printable(pattern), ": stands for more than ", kMaxNames, " names");
  std::vector<std::string> names;
  for (std::uint64_t value = from; value <= to; ++value) {
    const std::string digits = std::to_string(value);
    names.push_back(std::string(first.size() > digits.size() ? first.size() - digits.size() : 0, '0') + digits);
  }
  return names;
}

std::vector<std::string> alternatives(const std::string& inside, std::string_view pattern) {
  if (const std::size_t dots = inside.find(".."); dots != std::string::npos && inside.find(',') == std::string::npos)
    return numbers_between(inside.substr(0, dots), inside.substr(dots + 2), pattern);
  return split(inside, ',');
}

// ---- One archive

struct MemberName {
  std::string key, ending;
};

MemberName parted(const std::string& name) {
  const std::size_t base = name.rfind('/') + 1;
  const std::size_t dot = std::min(name.find('.', base), name.size());
  return {name.substr(0, dot), lower_case(name.substr(std::min(dot + 1, name.size())))};
}

bool has_dotdot(std::string_view name) {
  const std::vector<std::string> parts = split(name, '/');
  return std::find(parts.begin(), parts.end(), "..") != parts.end();
}

bool is_hidden(std::string_view name) { return name.starts_with('.') || name.find("/.") != std::string_view::npos; }

std::string trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// What the members beside an image say of it.
struct Beside {
  std::string label, json_label, fault;
  std::vector<std::string> captions, json_captions;
  bool has_simple_image = false;  // KEY.jpg, and not only KEY.part.jpg
};

void read_json_member(const std::string& content, const std::string& name, Beside& beside) {
  const auto object = nlohmann::json::parse(content, nullptr, false);
  if (object.is_discarded()) beside.fault = text("its member ", printable(name), " is no JSON");
  if (!object.is_object()) return;
  for (const char* key : {"label", "class", "cls"}) {
    if (!object.contains(key)) continue;
    if (object[key].is_number_integer()) beside.json_label = object[key].dump();
    if (object[key].is_string()) beside.json_label = object[key].get<std::string>();
  }
  for (const char* key : {"caption", "text", "txt"}) {
    if (object.contains(key) && object[key].is_string() && beside.json_captions.empty())
      beside.json_captions.push_back(object[key].get<std::string>());
  }
  if (!object.contains("captions") || !object["captions"].is_array()) return;
  for (const auto& caption : object["captions"]) {
    if (caption.is_string()) beside.json_captions.push_back(caption.get<std::string>());
  }
}

class ArchiveReading {
 public:
  ArchiveReading(const fs::path& path, std::uint32_t number) : file_(path), number_(number) {}

  std::vector<ArchiveSample> read() {
    const std::string archive = file_.path().string();
    TarReader tar([this](std::uint64_t offset, std::span<std::byte> into) { file_.read(offset, into); },
                  file_.stamp().size, archive);
    TarMember member;
    try {
      while (tar.next(member)) note(member);
    } catch (const Error& error) {
      if (tar.position() == 0) throw;  // no tar at all
      samples_.push_back(
          {text("from byte ", tar.position(), " on"), {number_, tar.position(), 0}, {}, {}, error.what()});
    }
    finish();
    return std::move(samples_);
  }

 private:
  void note(TarMember& member) {
    while (member.name.starts_with("./")) member.name.erase(0, 2);
    if (member.kind == TarKind::kFolder || member.name.empty() || (is_hidden(member.name) && !has_dotdot(member.name)))
      return;
    if (is_image_name(member.name)) return note_image(member);
    if (member.kind != TarKind::kFile) return;
    const MemberName parts = parted(member.name);
    const bool wanted =
        parts.ending == "txt" || parts.ending == "caption" || parts.ending == "cls" || parts.ending == "json";
    if (wanted) note_text(member, parts);
  }

  void note_image(const TarMember& member) {
    ArchiveSample sample{member.name, {number_, member.offset, member.size}, {}, {}, fault_of(member)};
    const MemberName parts = parted(member.name);
    if (parts.ending.find('.') == std::string::npos) beside_[parts.key].has_simple_image = true;
    samples_.push_back(std::move(sample));
  }

  std::string fault_of(const TarMember& member) {
    if (member.kind == TarKind::kLink) return "the member is a link, which is not followed; store the file itself";
    if (member.kind == TarKind::kSparse) return "the member is stored sparsely; repack it without --sparse";
    if (member.kind != TarKind::kFile) return "the member is no file but a device, pipe or unknown kind";
    if (member.name.starts_with('/')) return "the member's name is absolute";
    if (has_dotdot(member.name)) return "the member's name leads out of the archive (\"..\")";
    if (!names_.insert(member.name).second) return "the archive holds this name twice; the first member is used";
    return {};
  }

  void note_text(const TarMember& member, const MemberName& parts) {
    Beside& beside = beside_[parts.key];
    if (member.size > kMaxText) {
      beside.fault = text("its member ", printable(member.name), " has ", member.size,
                          " bytes, more than the limit of ", kMaxText);
      return;
    }
    std::string content(static_cast<std::size_t>(member.size), '\0');
    try {
      file_.read(member.offset, std::as_writable_bytes(std::span(content.data(), content.size())));
    } catch (const Error& error) {
      beside.fault = error.what();
      return;
    }
    if (parts.ending == "json") return read_json_member(content, member.name, beside);
    std::string value = trimmed(content);
    if (value.empty()) return;
    if (parts.ending == "cls") {
      beside.label = std::move(value);
    } else {
      beside.captions.push_back(std::move(value));
    }
  }

  void finish() {
    std::erase_if(samples_, [this](const ArchiveSample& sample) {
      const MemberName parts = parted(sample.name);
      const auto found = beside_.find(parts.key);
      return found != beside_.end() && found->second.has_simple_image && parts.ending.find('.') != std::string::npos &&
             sample.fault.empty();
    });
    for (ArchiveSample& sample : samples_) {
      const auto found = beside_.find(parted(sample.name).key);
      if (found == beside_.end()) continue;
      const Beside& beside = found->second;
      sample.label = beside.label.empty() ? beside.json_label : beside.label;
      sample.captions = beside.captions.empty() ? beside.json_captions : beside.captions;
      if (sample.fault.empty()) sample.fault = beside.fault;
    }
  }

  PositionedFile file_;
  std::uint32_t number_;
  std::vector<ArchiveSample> samples_;
  std::unordered_map<std::string, Beside> beside_;  // by key
  std::unordered_set<std::string> names_;
};

}  // namespace

std::vector<std::string> expand_braces(std::string_view pattern) {
  std::vector<std::string> names{""};
  std::string_view rest = pattern;
  for (;;) {
    const std::size_t open = rest.find('{');
    for (std::string& name : names) name += rest.substr(0, open);
    if (open == std::string_view::npos) return names;
    const std::size_t close = rest.find('}', open);
    check(close != std::string_view::npos, printable(pattern), ": a { without its }");
    const auto choices = alternatives(std::string(rest.substr(open + 1, close - open - 1)), pattern);
    check(names.size() * choices.size() <= kMaxNames, printable(pattern), ": stands for more than ", kMaxNames,
          " names");
    std::vector<std::string> longer;
    for (const std::string& name : names) {
      for (const std::string& choice : choices) longer.push_back(name + choice);
    }
    names = std::move(longer);
    rest.remove_prefix(close + 1);
  }
}

std::vector<ArchiveSample> read_archive(const fs::path& path, std::uint32_t number) {
  return ArchiveReading(path, number).read();
}

namespace {

// One archive of many that cannot be read stops nothing.
std::vector<ArchiveSample> read_if_readable(const fs::path& path, std::size_t place) {
  const auto number = static_cast<std::uint32_t>(place);
  try {
    return read_archive(path, number);
  } catch (const Error& error) {
    return {{"the whole archive", {number, 0, 0}, {}, {}, error.what()}};
  }
}

}  // namespace

std::vector<ArchiveSample> read_archives(const std::vector<fs::path>& paths, const FoundSoFar& found) {
  std::vector<std::vector<ArchiveSample>> parts(paths.size());
  std::atomic<std::int64_t> total{0};
  const auto read = [&](std::int64_t i) {
    const auto place = static_cast<std::size_t>(i);
    parts[place] = paths.size() == 1 ? read_archive(paths[0], 0) : read_if_readable(paths[place], place);
    total += std::ssize(parts[place]);
  };
  for_each_index(std::ssize(paths), usable_cores(), read, [&](std::int64_t) {
    if (found) found(total);
  });
  std::vector<ArchiveSample> all;
  for (auto& part : parts) std::move(part.begin(), part.end(), std::back_inserter(all));
  return all;
}

std::string common_folder(const std::vector<ArchiveSample>& samples) {
  std::optional<std::string> common;
  for (const ArchiveSample& sample : samples) {
    if (!sample.fault.empty()) continue;
    if (!common) common = sample.name.substr(0, sample.name.rfind('/') + 1);
    while (!sample.name.starts_with(*common)) common->resize(common->rfind('/', common->size() - 2) + 1);
  }
  return common.value_or("");
}

}  // namespace lacuna
