// `lacuna data check|pack|show`: what a data set holds, the same as tar shards, and how a run would see it.

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/cores.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/data_show.h"
#include "cli/run_config.h"
#include "data/data_report.h"
#include "data/pack.h"
#include "io/files.h"

namespace lacuna {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kNamed = 10;  // of long lists on the screen; JSON has all of them
constexpr const char* kUsage =
    "data: lacuna data check PATH …, lacuna data pack PATH OUT or lacuna data show PATH --out FILE.png";

struct CheckConfig {
  DataConfig data;
  std::optional<int> threads;
  bool json = false;

  void fields(Fields& f) {
    f.table("data", data, {.help = "how the data is read"});
    f.add("threads", threads, {.help = "that decode; auto is all cores", .min = 1, .max = 1024});
    f.add("json", json, {.help = "print one JSON object for each PATH instead of text"});
  }
};

struct PackCommandConfig {
  DataConfig data;
  std::optional<int> threads;
  PackConfig pack;

  void fields(Fields& f) {
    f.table("data", data, {.help = "how the data is read"});
    f.add("threads", threads, {.help = "that decode; auto is all cores", .min = 1, .max = 1024});
    pack.fields(f);
  }
};

template <class Config>
Config configured(const std::vector<std::string>& settings) {
  Config config;
  Settings given;
  given.override_with(settings);
  check(!given.has("data.path"), "data: the path is given as a word, not as data.path");
  apply(given, config);
  return config;
}

// Shows how far a loop over `total` samples is.
class SampleProgress {
 public:
  SampleProgress(std::string what, std::int64_t total)
      : what_(std::move(what)), total_(total), progress_(std::cerr, progress_style(STDERR_FILENO)) {}
  ~SampleProgress() { progress_.finish(); }
  SampleProgress(const SampleProgress&) = delete;
  SampleProgress& operator=(const SampleProgress&) = delete;

  void operator()(std::int64_t done) {
    if (done == total_ || progress_.due())
      progress_.show(text(what_, ' ', done, " of ", total_),
                     static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(total_, 1)));
  }

 private:
  std::string what_;
  std::int64_t total_;
  Progress progress_;
};

// ---- check

json spread_json(const Spread& s) {
  return {{"least", s.least},
          {"lower_quartile", s.lower},
          {"median", s.middle},
          {"upper_quartile", s.upper},
          {"greatest", s.greatest}};
}

json report_json(const DataReport& r) {
  json broken = json::array(), classes = json::object(), formats = json::object();
  json means = json::array(), deviations = json::array();
  for (const ChannelReport& c : r.channels) {
    means.push_back(c.mean);
    deviations.push_back(c.std);
  }
  for (const BrokenSample& b : r.broken) broken.push_back({{"id", b.id}, {"name", b.name}, {"reason", b.reason}});
  for (const auto& [name, count] : r.classes) classes[name] = count;
  for (const auto& [name, count] : r.formats) formats[name] = count;
  const CaptionReport& c = r.captions;
  return {{"samples", r.samples},
          {"readable", r.readable},
          {"bytes", r.bytes},
          {"formats", formats},
          {"width", spread_json(r.widths)},
          {"height", spread_json(r.heights)},
          {"mean", means},
          {"std", deviations},
          {"broken", broken},
          {"duplicates", r.duplicates},
          {"classes", classes},
          {"unlabelled", r.unlabelled},
          {"captions",
           {{"count", c.count},
            {"samples_without", c.samples_without},
            {"characters", spread_json(c.characters)},
            {"not_ascii", c.not_ascii},
            {"not_utf8", c.not_utf8},
            {"control_characters", c.control},
            {"repeated", c.repeated}}}};
}

void print_classes(const DataReport& r) {
  if (r.classes.empty()) return;
  std::vector<std::int64_t> counts;
  for (const auto& [name, count] : r.classes) counts.push_back(count);
  const auto by_count = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto [least, most] = std::minmax_element(r.classes.begin(), r.classes.end(), by_count);
  std::cout << "classes    " << r.classes.size() << "; ";
  if (least->second == most->second) {
    std::cout << least->second << " images each";
  } else {
    std::cout << "median " << spread_of(counts).middle << " images, least " << least->second << " ("
              << printable(least->first) << "), most " << most->second << " (" << printable(most->first) << ")";
  }
  if (r.unlabelled > 0) std::cout << "; " << r.unlabelled << " images have none";
  std::cout << "\n";
}

void print_captions(const CaptionReport& c) {
  if (c.count == 0) return;
  std::cout << "captions   " << c.count << "; " << c.characters.least << " to " << c.characters.greatest
            << " characters, median " << c.characters.middle << "; " << c.samples_without << " images have none\n"
            << "           " << c.repeated << " repeat an earlier one, " << c.not_ascii << " go beyond ASCII, "
            << c.control << " hold control characters, " << c.not_utf8 << " are not UTF-8\n";
}

void print_duplicates(const std::vector<EqualFiles>& duplicates) {
  std::int64_t extra = 0;
  for (const EqualFiles& files : duplicates) extra += std::ssize(files) - 1;
  std::cout << "duplicates " << extra << (extra == 1 ? " file equals" : " files equal")
            << " an earlier one byte by byte\n";
  for (std::size_t i = 0; i < std::min(duplicates.size(), kNamed); ++i)
    std::cout << "           " << printable(duplicates[i][0], 400) << " = " << printable(duplicates[i][1], 400)
              << (duplicates[i].size() > 2 ? text(" and ", duplicates[i].size() - 2, " more") : "") << "\n";
  if (duplicates.size() > kNamed) std::cout << "           and " << duplicates.size() - kNamed << " more (--json)\n";
}

// As student.mean and student.std take them.
void print_channels(const std::vector<ChannelReport>& channels) {
  std::string mean, std;
  for (const ChannelReport& c : channels) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.4f", mean.empty() ? "" : ",", c.mean);
    mean += number;
    std::snprintf(number, sizeof number, "%s%.4f", std.empty() ? "" : ",", c.std);
    std += number;
  }
  std::cout << "channels   mean [" << mean << "], standard deviation [" << std << "] of pixels in [0, 1]\n";
}

void print_report(const DataReport& r) {
  std::cout << "images     " << r.samples << ", " << r.readable << " can be read, " << r.broken.size() << " cannot"
            << (r.bytes > 0 ? "; " + human_bytes(r.bytes) : "") << "\nformats    ";
  for (const auto& [name, count] : r.formats)
    std::cout << (name == r.formats.begin()->first ? "" : ", ") << count << " " << name;
  std::cout << "\nsizes      width " << r.widths.least << " to " << r.widths.greatest << " (median " << r.widths.middle
            << "), height " << r.heights.least << " to " << r.heights.greatest << " (median " << r.heights.middle
            << ") pixels\n";
  print_channels(r.channels);
  print_classes(r);
  print_captions(r.captions);
  if (r.bytes > 0) print_duplicates(r.duplicates);
  for (std::size_t i = 0; i < std::min(r.broken.size(), kNamed); ++i)
    std::cout << "broken     " << printable(r.broken[i].reason, 400) << "\n";
  if (r.broken.size() > kNamed) std::cout << "           and " << r.broken.size() - kNamed << " more (--json)\n";
}

// How many of these files are among those, byte by byte.
std::int64_t shared_files(const DataReport& these, const DataReport& those) {
  const std::set<std::array<std::uint64_t, 2>> known(those.contents.begin(), those.contents.end());
  return std::count_if(these.contents.begin(), these.contents.end(), [&](const auto& content) {
    return content != std::array<std::uint64_t, 2>{} && known.count(content) != 0;
  });
}

DataReport check_split(const SourceConfig& source, Split split, const CheckConfig& config, const std::string& what) {
  std::vector<std::string> notes;
  const auto opened = open_source(source, split, &notes);
  if (!config.json) {
    std::cout << what << "\n";
    for (const std::string& note : notes) std::cout << "           " << note << "\n";
  }
  SampleProgress progress("looking at", opened->size());
  return look_at(*opened, config.threads.value_or(usable_cores()), std::ref(progress));
}

// Returns the number of broken samples.
std::size_t check_path(const std::string& path, const CheckConfig& config) {
  SourceConfig source = config.data.source();
  source.path = path;
  source.decoded_side = 0;  // the files are looked at
  const bool splits = has_splits(source) && !(path == "shapes");
  const DataReport train = check_split(source, Split::kTrain, config, splits ? path + ", train" : path);
  json out{{"path", path}, {splits ? "train" : "data", config.json ? report_json(train) : json()}};
  if (!config.json) print_report(train);
  std::size_t broken = train.broken.size();
  if (splits) {
    const DataReport val = check_split(source, Split::kVal, config, path + ", val");
    const std::int64_t leaked = shared_files(val, train);
    broken += val.broken.size();
    if (!config.json) print_report(val);
    if (!config.json)
      std::cout << "overlap    " << counted(leaked, "val file is", "val files are") << " among the train files\n";
    if (config.json) out["val"] = report_json(val);
    out["val_files_in_train"] = leaked;
  }
  if (config.json) std::cout << out.dump(1, ' ', false, json::error_handler_t::replace) << "\n";
  return broken;
}

int check_command(Arguments arguments) {
  const CommandLine line = split(arguments, {"json"});
  check(!line.words.empty(), kUsage);
  const auto config = configured<CheckConfig>(line.settings);
  std::size_t broken = 0;
  for (const std::string& path : line.words) broken += check_path(path, config);
  return static_cast<int>(broken == 0 ? ExitCode::kDone : ExitCode::kBadData);
}

// ---- pack

void pack_split(const SourceConfig& config, Split split, const std::filesystem::path& out, const PackCommandConfig& c) {
  const auto source = open_source(config, split);
  PackConfig how = c.pack;
  how.decode = config.decode;
  PackReport report;
  {
    SampleProgress progress("packing", source->size());
    report = pack(*source, out, how, c.threads.value_or(usable_cores()), std::ref(progress));
  }
  std::cout << out.string() << ": " << report.samples << " images in " << counted(report.shards, "shard") << ", "
            << human_bytes(report.bytes) << ", read back and compared";
  if (report.kept > 0) std::cout << " (" << counted(report.kept, "shard") << " of them from before)";
  std::cout << "\n";
  if (!report.broken.empty())
    std::cout << "left out  " << report.broken.size() << " that cannot be read, named in "
              << (out / "pack.json").string() << "; the first: " << printable(report.broken[0].reason, 400) << "\n";
}

int pack_command(Arguments arguments) {
  const CommandLine line = split(arguments);
  check(line.words.size() == 2, "data pack: expected the data and the folder to write: lacuna data pack PATH OUT");
  const auto config = configured<PackCommandConfig>(line.settings);
  SourceConfig source = config.data.source();
  source.path = line.words[0];
  source.decoded_side = 0;
  const std::filesystem::path out = line.words[1];
  std::cout << (config.pack.side == 0 ? std::string("files are stored byte for byte")
                                      : text("images are written anew: short side at most ", config.pack.side,
                                             " pixels, JPEG of quality ", config.pack.quality))
            << "\n";
  if (source.path != "shapes" && has_splits(source)) {
    pack_split(source, Split::kTrain, out / "train", config);
    pack_split(source, Split::kVal, out / "val", config);
  } else {
    pack_split(source, Split::kTrain, out, config);
  }
  std::cout << "next      lacuna pretrain data=" << out.string() << " …\n";
  return 0;
}

}  // namespace

int data_command(Arguments arguments) {
  check(!arguments.empty(), kUsage);
  const auto rest = arguments.subspan(1);
  if (arguments[0] == "check") return check_command(rest);
  if (arguments[0] == "pack") return pack_command(rest);
  if (arguments[0] == "show") return data_show(rest);
  fail(kUsage, "\nfound '", arguments[0], "'");
}

std::string data_keys() {
  return "check, beside data.KEY:\n" + describe(CheckConfig{}, "threads") + describe(CheckConfig{}, "json") +
         "pack, beside data.KEY:\n" + describe(PackConfig{});
}

}  // namespace lacuna
