#include "base/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {
namespace {

enum class Shape { kRandom, kBlock, kGrid };
constexpr Named<Shape> kShapes[] = {
    {Shape::kRandom, "random", "each alone"}, {Shape::kBlock, "block"}, {Shape::kGrid, "grid"}};

struct Teacher {
  std::filesystem::path path;
  int layers = 12;
  bool operator==(const Teacher&) const = default;
  void fields(Fields& f) {
    f.add("path", path, {.help = "folder of weights"});
    f.add("layers", layers, {.min = 1, .aliases = {"depth"}});
  }
};

struct Mask {
  Shape kind = Shape::kBlock;
  double ratio = 0.4;
  bool operator==(const Mask&) const = default;
  void fields(Fields& f) {
    f.add("kind", kind, kShapes, {.help = "how patches are chosen"});
    f.add("ratio", ratio,
          {.help = "share of patches hidden", .min = 0, .max = 1, .below_max = true, .aliases = {"mask_ratio"}});
  }
};

struct Objective {
  double weight = 1;
  Teacher teacher;
  bool operator==(const Objective&) const = default;
  void fields(Fields& f) {
    f.add("weight", weight, {.min = 0, .above_min = true});
    f.table("teacher", teacher, {.shorthand = "path"});
  }
};

struct Recipe {
  bool amp = false;
  int workers = 4;
  std::int64_t steps = 0;
  std::uint64_t seed = 0;
  double lr = 0.001;
  std::string name = "run";
  Duration epochs{300, Duration::Unit::kEpochs};
  std::optional<double> clip;
  std::optional<Shape> shape;
  std::optional<std::string> note;
  std::vector<double> rates;
  std::vector<std::string> words = {"a"};
  std::vector<std::filesystem::path> data;
  std::array<double, 2> crop = {0.4, 1};
  std::array<double, 3> mean = {0, 0, 0};
  Mask mask;
  Teacher teacher;
  std::vector<Objective> objectives = {Objective{}};
  bool operator==(const Recipe&) const = default;
  void fields(Fields& f) {
    f.add("amp", amp);
    f.add("num_workers", workers,
          {.help = "threads that read",
           .unit = "threads",
           .min = 0,
           .aliases = {"data.workers"},
           .on_resume = kMayChange});
    f.add("steps", steps);
    f.add("seed", seed);
    f.add("lr", lr, {.min = 0});
    f.add("name", name);
    f.add("epochs", epochs, {.bare = Duration::Unit::kEpochs});
    f.add("clip", clip, {.min = 0});
    f.add("shape", shape, kShapes);
    f.add("note", note);
    f.add("rates", rates, {.min = 0, .max = 1});
    f.add("words", words);
    f.add("data_dirs", data);
    f.add("crop", crop, {.min = 0, .max = 1});
    f.add("mean", mean);
    f.table("mask", mask, {.help = "which patches are hidden"});
    f.table("teacher", teacher, {.on_resume = kMayChange, .shorthand = "path"});
    f.list("objective", objectives, {.help = "losses"});
  }
};

using Arguments = std::vector<std::string>;

Recipe read(const std::string& toml, const Arguments& arguments = {}, Origins* set = nullptr) {
  Settings settings = Settings::from_text(toml, "r.toml");
  settings.override_with(arguments);
  Recipe run;
  Origins origins = apply(settings, run);
  if (set) *set = origins;
  return run;
}

template <class Call>
std::string message(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUser);
    return error.what();
  }
  return "no error";
}

std::string fault(const std::string& toml, const Arguments& arguments = {}) {
  return message([&] { read(toml, arguments); });
}

TEST(Config, ReadsEveryType) {
  const Recipe run = read(R"(
amp = true
num_workers = 8
steps = -9_000_000_000
seed = "18446744073709551615"
lr = 1
name = "ä \"q\"\n"
epochs = "5 %"
clip = 0.5
shape = "grid"
rates = [0, 0.5, 1]
words = []
data_dirs = "/a b"
crop = [0.1, 0.2]
[mask]
kind = "random"
ratio = 0.75
[teacher]
path = "/t"
[[objective]]
weight = 2
[[objective]]
teacher = "/u"
)");
  Recipe want;
  want.amp = true, want.workers = 8, want.steps = -9000000000, want.seed = std::numeric_limits<std::uint64_t>::max();
  want.lr = 1, want.name = "ä \"q\"\n", want.epochs = {5, Duration::Unit::kPercent}, want.clip = 0.5;
  want.shape = Shape::kGrid, want.rates = {0, 0.5, 1}, want.words = {}, want.data = {"/a b"}, want.crop = {0.1, 0.2};
  want.mask = {Shape::kRandom, 0.75}, want.teacher.path = "/t";
  want.objectives = {{.weight = 2, .teacher = {}}, {.weight = 1, .teacher = {.path = "/u"}}};
  EXPECT_EQ(run, want);
}

TEST(Config, CommandLineTakesAllForms) {
  const Recipe run =
      read("lr = 0.5\nname = \"x\"", {"lr=1e-3", "--mask-ratio", "0.25", "crop=[0.4, 0.9]", "--epochs=10k steps",
                                      "name=300", "--amp", "data-dirs=/some/dir", "clip=auto", "--steps", "-3",
                                      "objective.0.weight=3", "teacher=/t", "objective.0.teacher=/o"});
  EXPECT_EQ(run.lr, 1e-3);
  EXPECT_EQ(run.mask.ratio, 0.25);
  EXPECT_EQ(run.crop, (std::array<double, 2>{0.4, 0.9}));
  EXPECT_EQ(run.epochs, (Duration{10000, Duration::Unit::kSteps}));
  EXPECT_EQ(run.name, "300") << "text as typed";
  EXPECT_TRUE(run.amp);
  EXPECT_EQ(run.data, std::vector<std::filesystem::path>{"/some/dir"});
  EXPECT_EQ(run.clip, std::nullopt);
  EXPECT_EQ(run.steps, -3);
  EXPECT_EQ(run.objectives[0].weight, 3);
  EXPECT_EQ(run.teacher.path, "/t");
  EXPECT_EQ(run.objectives[0].teacher.path, "/o");
}

TEST(Config, TextKeepsWhatWasTyped) {
  for (const std::string typed :
       {"true", "1.50", "2024-01-01", "nan", "a = b", "x } # y", "1, b = 2", "", "[a", "0x"}) {
    EXPECT_EQ(read("", {"name=" + typed}).name, typed);
  }
  EXPECT_EQ(read("", {"name=\"quoted\""}).name, "quoted");
  EXPECT_EQ(read("", {"--name", "/a=b"}).name, "/a=b");
  EXPECT_TRUE(read("", {"--amp", "lr=2"}).amp) << "a flag does not eat an assignment";
}

TEST(Config, SaysWhereAKeyWasSet) {
  Origins set;
  read("\nlr = 1\n[mask]\nratio = 0.1\n[[objective]]\nweight = 2\n", {"data.workers=2", "lr=3"}, &set);
  EXPECT_EQ(set.at("lr").str(), "command line");
  EXPECT_EQ(set.at("mask.ratio").str(), "r.toml:4");
  EXPECT_EQ(set.at("num_workers").str(), "command line");
  EXPECT_EQ(set.at("objective.0.weight").str(), "r.toml:6");
  EXPECT_FALSE(set.contains("name"));
}

TEST(Config, AliasesDashesAndTablesMeanTheSameKey) {
  EXPECT_EQ(read("mask_ratio = 0.3").mask.ratio, 0.3);
  EXPECT_EQ(read("mask-ratio = 0.3").mask.ratio, 0.3);
  EXPECT_EQ(read("[data]\nworkers = 3").workers, 3);
  EXPECT_EQ(read("num-workers = 3").workers, 3);
  EXPECT_EQ(read("mask_ratio = 0.3", {"mask.ratio=0.6"}).mask.ratio, 0.6);
  EXPECT_EQ(read("", {"objective.0.depth=3"}).objectives[0].teacher.layers, 3) << "counted from the entry";
  EXPECT_EQ(read("", {"mask={kind='grid', ratio=0.5}"}).mask, (Mask{Shape::kGrid, 0.5}));
}

TEST(Config, AListReplacesTheDefault) {
  EXPECT_EQ(read("objective = []").objectives.size(), 0u);
  const Recipe run = read("[[objective]]\n[[objective]]\nweight = 4", {"objective.1.weight=5"});
  ASSERT_EQ(run.objectives.size(), 2u);
  EXPECT_EQ(run.objectives[1].weight, 5);
  EXPECT_EQ(read("[[objective]]\nweight=2", {"objective=[{weight=3}]"}).objectives[0].weight, 3);
}

TEST(ConfigErrors, NameFileLineKeyExpectedAndFound) {
  EXPECT_EQ(fault("\n\nlr = \"fast\""), "r.toml:3: lr: expected a number of at least 0, found \"fast\"");
  EXPECT_EQ(fault("", {"lr=-1"}), "command line: lr: expected a number of at least 0, found -1");
  EXPECT_EQ(fault("num_workers = 1.5"),
            "r.toml:1: num_workers: expected a whole number of at least 0 (threads), found 1.5");
  EXPECT_EQ(fault("amp = 1"), "r.toml:1: amp: expected true or false, found 1");
  EXPECT_EQ(fault("name = 1"), "r.toml:1: name: expected text, found 1");
  EXPECT_EQ(fault("", {"--name"}), "command line: name: expected text, found true");
  EXPECT_EQ(fault("seed = -1"), "r.toml:1: seed: expected a whole number, not negative, found -1");
  EXPECT_EQ(fault("seed = \"12\""), "r.toml:1: seed: expected a whole number, not negative, found \"12\"");
  EXPECT_EQ(fault("clip = \"x\""), "r.toml:1: clip: expected auto or a number of at least 0, found \"x\"");
  EXPECT_EQ(fault("crop = [1]"), "r.toml:1: crop: expected a list of 2 numbers, each from 0 to 1, found [1]");
  EXPECT_EQ(fault("rates = [0.5, 2]"), "r.toml:1: rates: expected a list of numbers, each from 0 to 1, found [0.5, 2]");
  EXPECT_EQ(fault("", {"words=[a]"}).substr(0, 12), "no error") << "text is a list of one";
  EXPECT_EQ(fault("[mask]\nkind = \"blok\""),
            "r.toml:2: mask.kind: expected one of random, block, grid, found \"blok\"; did you mean block?");
  EXPECT_EQ(fault("mask.ratio = 1"), "r.toml:1: mask.ratio: expected a number of at least 0 and below 1, found 1");
  EXPECT_EQ(
      fault("epochs = \"3 weeks\""),
      "r.toml:1: epochs: expected a duration such as \"300 epochs\", \"10k steps\", \"5 %\" or \"1.5 M samples\" (a "
      "bare number counts epochs), found \"3 weeks\"");
  EXPECT_EQ(fault("lr = 2024-01-01"), "r.toml:1: lr: expected a number of at least 0, found a date or time");
  EXPECT_EQ(fault("[[objective]]\n[[objective]]\nweight = 0"),
            "r.toml:3: objective.1.weight: expected a number above 0, found 0");
  EXPECT_EQ(fault("mask = 3"), "r.toml:1: mask: expected a table with mask.kind, mask.ratio, found 3");
  EXPECT_EQ(fault("objective = 3"), "r.toml:1: objective: expected a list of tables, found 3");
  EXPECT_EQ(fault("objective = [3]"), "r.toml:1: objective.0: expected a table, found 3");
  EXPECT_EQ(
      fault("", {"objective.1.weight=3"}),
      "command line: objective: expected entry 0, the only one (a recipe gives new ones as [[objective]]), found 1");
  EXPECT_EQ(
      fault("[objective]\nweight = 3"),
      "r.toml:2: objective: expected entry 0, the only one (a recipe gives new ones as [[objective]]), found weight");
}

TEST(ConfigErrors, RefuseNumbersThatAreNotFinite) {
  for (const char* number : {"nan", "inf", "-inf", "+inf"}) {
    EXPECT_NE(fault(std::string("mean = [0, 0, ") + number + "]"), "no error") << number;
    EXPECT_NE(fault("", {std::string("lr=") + number}), "no error") << number;
  }
  EXPECT_EQ(fault("lr = inf"), "r.toml:1: lr: expected a number of at least 0, found inf");
}

TEST(ConfigErrors, SuggestTheNearestKey) {
  EXPECT_EQ(fault("nmae = \"x\""), "r.toml:1: nmae: no such key; did you mean name?");
  EXPECT_EQ(fault("[mask]\nraito = 0.1"), "r.toml:2: mask.raito: no such key; did you mean mask.ratio?");
  EXPECT_EQ(fault("[msak]\nratio = 0.1"), "r.toml:2: msak.ratio: no such key; did you mean mask.ratio?");
  EXPECT_EQ(fault("", {"ratio=0.1"}), "command line: ratio: no such key; did you mean mask.ratio?");
  EXPECT_EQ(fault("", {"mask_ration=0.1"}), "command line: mask_ration: no such key; did you mean mask_ratio?");
  EXPECT_EQ(fault("[[objective]]\nwieght = 1"),
            "r.toml:2: objective.0.wieght: no such key; did you mean objective.0.weight?");
  EXPECT_EQ(fault("zzzzzzzzz = 1"), "r.toml:1: zzzzzzzzz: no such key");
  EXPECT_EQ(fault("[msk]"), "r.toml:1: msk: no such key; did you mean mask?");
  EXPECT_EQ(fault("lr.x = 1"), "r.toml:1: lr.x: no such key");
}

TEST(ConfigErrors, RefuseAKeySetTwice) {
  EXPECT_EQ(fault("", {"lr=1", "lr=2"}), "command line: lr: set twice; first at command line");
  EXPECT_EQ(fault("mask_ratio = 0.1\nmask.ratio = 0.2"), "r.toml:2: mask.ratio: set twice; first at r.toml:1");
  EXPECT_EQ(fault("num-workers = 1\nnum_workers = 1"), "r.toml:2: num_workers: set twice; first at r.toml:1");
  EXPECT_EQ(fault("", {"objective.0.weight=2", "objective=[{}]"}),
            "command line: objective: set after its entry objective.0.weight; give the list first");
  EXPECT_TRUE(fault("a = 1\nlr = 1\nlr = 2").starts_with("r.toml:3: not valid TOML: ")) << fault("lr = 1\nlr = 2");
}

TEST(ConfigErrors, AreReportedTogetherUpToTen) {
  EXPECT_EQ(fault("lr = \"x\"\nnmae = 1", {"amp=3"}),
            "3 mistakes in the settings:\n"
            "  r.toml:1: lr: expected a number of at least 0, found \"x\"\n"
            "  r.toml:2: nmae: no such key; did you mean name?\n"
            "  command line: amp: expected true or false, found 3");
  std::string toml;
  for (int i = 0; i < 25; ++i) toml += text("k", i, " = 1\n");
  const std::string found = fault(toml);
  EXPECT_TRUE(found.starts_with("25 mistakes in the settings:\n  r.toml:1: k0: "));
  EXPECT_TRUE(found.ends_with("\n  and 15 more"));
  EXPECT_EQ(std::count(found.begin(), found.end(), '\n'), 11);
}

TEST(ConfigErrors, NameBadArguments) {
  const std::string form = "expected key=value, such as optim.lr=0.001, found ";
  EXPECT_EQ(fault("", {"lr"}), "command line: " + form + "\"lr\"");
  EXPECT_EQ(fault("", {"=3"}), "command line: " + form + "\"=3\"");
  EXPECT_EQ(fault("", {"a..b=3"}), "command line: " + form + "\"a..b=3\"");
  EXPECT_EQ(fault("", {"-lr=3"}), "command line: " + form + "\"-lr=3\"");
  EXPECT_EQ(fault("", {"name=\xFF"}), "command line: expected key=value in UTF-8, found other bytes");
  EXPECT_TRUE(fault("", {"x y=1", "lr"}).starts_with("2 mistakes"));
}

TEST(ConfigErrors, LeaveTheConfigAsItWas) {
  Recipe run;
  const Settings settings = Settings::from_text("lr = 5\nnmae = 1", "r.toml");
  EXPECT_THROW(apply(settings, run), Error);
  EXPECT_EQ(run, Recipe{});
}

TEST(ConfigErrors, KeepMessagesShortAndOnOneLine) {
  const std::string found = fault("lr = \"" + std::string(5000, 'x') + "\"\n\"a\\nb\" = 1");
  EXPECT_LT(found.size(), 400u);
  EXPECT_EQ(std::count(found.begin(), found.end(), '\n'), 2);
}

TEST(ConfigBounds, RefuseDeepNestingWithoutExhaustingTheStack) {
  const std::string deep = "r.toml:2: tables and lists nest deeper than 32";
  std::string dots = "a";
  for (int i = 0; i < 200000; ++i) dots += ".a";
  EXPECT_EQ(fault("\n[" + dots + "]"), deep);
  EXPECT_EQ(fault("\n" + dots + " = 1"), deep);
  EXPECT_EQ(fault("\nx = {y = \"\"\"q\"\"\"\", " + dots + " = 1}"), deep) << "quotes do not hide keys";
  EXPECT_EQ(fault("\nx = " + std::string(100000, '[')), deep);
  EXPECT_EQ(fault("\nx = " + std::string(40, '[') + std::string(40, ']')), deep);
  EXPECT_EQ(fault("name = \"" + dots + "\" # " + dots), "no error") << "text and comments may hold dots";
  EXPECT_EQ(fault("", {"name=" + dots}), "no error");
  EXPECT_NE(fault("", {dots + "=1"}), "no error");
}

TEST(ConfigBounds, RefuseALargeRecipe) {
  const std::string large(1 << 20, '\n');
  EXPECT_EQ(fault(large), "no error");
  EXPECT_EQ(fault(large + "\n"), "r.toml: expected a recipe of at most 1048576 bytes, found 1048577");
  const auto path = std::filesystem::temp_directory_path() / "lacuna_config_test.toml";
  std::ofstream(path) << large << "\n";
  EXPECT_EQ(message([&] { Settings::from_toml(path); }),
            path.string() + ": expected a recipe of at most 1048576 bytes, found 1048577");
  std::ofstream(path) << "\nlr = 7\n";
  Recipe run;
  EXPECT_EQ(apply(Settings::from_toml(path), run).at("lr").str(), path.string() + ":2");
  std::filesystem::remove(path);
  EXPECT_EQ(message([&] { Settings::from_toml(path); }),
            path.string() + ": expected a recipe (a TOML file), found nothing");
}

TEST(ConfigBounds, ManyMistakesAreCheap) {
  std::string toml;
  for (int i = 0; toml.size() < (1 << 20) - 20; ++i) toml += text("k", i, "=1\n");
  EXPECT_TRUE(fault(toml).ends_with(" more"));
}

TEST(ConfigBounds, DamagedRecipesThrowErrorsOnly) {
  const std::string good = to_toml(Recipe{});
  Rng rng(7, Purpose::kTest);
  int refused = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string bad = good;
    for (int k = 0; k < 3; ++k) {
      const auto at = static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(bad.size()) - 1));
      bad[at] = "\"'[]{}=.,#\n\\x\x01\xC3"[rng.integer(0, 14)];
    }
    refused += fault(bad) != "no error";
  }
  EXPECT_GT(refused, 300);
}

std::string random_text(Rng& rng) {
  static const std::vector<std::string> kParts = {"a",  "\"", "\\",     "\n", "\t", "\r",     "ü",
                                                  "日", "😀",  " ",      "#",  "'",  "\x01",   "\x7F",
                                                  "=",  "]",  "\"\"\"", "{",  ".",  "\\u0041"};
  std::string text;
  for (auto n = rng.integer(0, 12); n > 0; --n) text += kParts[static_cast<std::size_t>(rng.integer(0, 19))];
  return text;
}

double random_number(Rng& rng) { return rng.normal() * std::pow(10.0, rng.uniform(-300, 300)); }

Recipe random_run(Rng& rng) {
  Recipe run;
  run.amp = rng.chance(0.5);
  run.workers = static_cast<int>(rng.integer(0, 2147483647));
  run.steps = static_cast<std::int64_t>(rng.bits64());
  run.seed = rng.bits64();
  run.lr = std::abs(random_number(rng));
  run.name = random_text(rng);
  run.epochs = {rng.uniform(0, 100), Duration::Unit::kPercent};
  if (rng.chance(0.5)) run.clip = rng.uniform();
  if (rng.chance(0.5)) run.shape = Shape::kGrid;
  if (rng.chance(0.5)) run.note = random_text(rng);
  for (auto n = rng.integer(0, 3); n > 0; --n) run.rates.push_back(rng.uniform());
  run.words.clear();
  for (auto n = rng.integer(0, 3); n > 0; --n) run.words.push_back(random_text(rng));
  for (auto n = rng.integer(0, 3); n > 0; --n) run.data.push_back(random_text(rng));
  run.crop = {rng.uniform(), 1};
  run.mean = {random_number(rng), -0.0, random_number(rng)};
  run.mask = {Shape::kRandom, rng.uniform()};
  run.teacher.path = random_text(rng);
  run.objectives.assign(static_cast<std::size_t>(rng.integer(0, 3)), {});
  for (Objective& each : run.objectives) each = {rng.uniform(0.1, 2), {random_text(rng), 3}};
  return run;
}

TEST(ConfigRoundTrip, TomlGivesAnEqualConfig) {
  Rng rng(3, Purpose::kTest);
  for (int i = 0; i < 500; ++i) {
    const Recipe run = random_run(rng);
    const std::string toml = to_toml(run);
    ASSERT_EQ(read(toml), run) << toml;
    ASSERT_EQ(to_toml(read(toml)), toml);
  }
}

TEST(ConfigRoundTrip, JsonGivesAnEqualConfig) {
  Rng rng(4, Purpose::kTest);
  for (int i = 0; i < 500; ++i) {
    const Recipe run = random_run(rng);
    Recipe back;
    from_json(nlohmann::json::parse(to_json(run).dump()), "checkpoint", back);
    ASSERT_EQ(back, run) << to_json(run).dump();
  }
}

TEST(ConfigRoundTrip, LargestNumbersSurvive) {
  Recipe run;
  run.steps = std::numeric_limits<std::int64_t>::min();
  run.seed = std::numeric_limits<std::uint64_t>::max();
  run.lr = std::numeric_limits<double>::denorm_min();
  run.mean = {std::numeric_limits<double>::max(), 0.1, 1e22};
  EXPECT_EQ(read(to_toml(run)), run);
  EXPECT_EQ(read("", {"seed=18446744073709551615"}).seed, run.seed);
  run.lr = std::numeric_limits<double>::infinity();
  EXPECT_THROW(to_toml(run), std::logic_error);
  EXPECT_THROW(to_json(run), std::logic_error);
}

TEST(ConfigJson, IsStrict) {
  nlohmann::json json = to_json(Recipe{});
  EXPECT_TRUE(json["clip"].is_null());
  EXPECT_EQ(json["epochs"], "300 epochs");
  Recipe run;
  json.erase("lr");
  json["mask"]["x"] = 1;
  EXPECT_EQ(message([&] { from_json(json, "last.ckpt", run); }),
            "2 mistakes in the settings:\n  last.ckpt: mask.x: no such key\n"
            "  last.ckpt: lr: expected a number of at least 0, found nothing");
  EXPECT_EQ(message([&] { from_json(nlohmann::json(3), "last.ckpt", run); }),
            "last.ckpt: expected a config as a JSON object, found number");
}

TEST(ConfigPrint, IsReadable) {
  Origins set;
  const Recipe run = read("[mask]\nratio = 0.25", {}, &set);
  const std::string toml = to_toml(run, &set);
  EXPECT_NE(toml.find("# threads that read; in threads; of at least 0\nnum_workers = 4\n"), std::string::npos) << toml;
  EXPECT_NE(toml.find("\n# which patches are hidden\n[mask]\n"), std::string::npos) << toml;
  EXPECT_NE(toml.find("# share of patches hidden; of at least 0 and below 1 [r.toml:2]\nratio = 0.25\n"),
            std::string::npos)
      << toml;
  EXPECT_NE(toml.find("[objective.teacher]\n"), std::string::npos) << toml;
}

TEST(ConfigDiff, NamesWhatChangedAndWhetherItMay) {
  Recipe before, after;
  EXPECT_TRUE(diff(before, after).empty());
  after.lr = 0.5, after.workers = 9, after.teacher.layers = 3, after.objectives.clear();
  const auto changes = diff(before, after);
  ASSERT_EQ(changes.size(), 6u);
  EXPECT_EQ(changes[0].key, "num_workers");
  EXPECT_TRUE(changes[0].may_change);
  EXPECT_EQ(changes[1].key, "lr");
  EXPECT_EQ(changes[1].before, "0.001");
  EXPECT_EQ(changes[1].after, "0.5");
  EXPECT_FALSE(changes[1].may_change);
  EXPECT_EQ(changes[2].key, "teacher.layers");
  EXPECT_TRUE(changes[2].may_change) << "as its table may";
  EXPECT_EQ(changes[3].key, "objective.0.weight");
  EXPECT_EQ(changes[3].after, "(none)");
}

TEST(ConfigDescribe, ListsFieldsAndExplainsOne) {
  const std::string all = describe(Recipe{});
  EXPECT_NE(all.find("objective.N.teacher.path"), std::string::npos) << all;
  const std::string mask = describe(Recipe{}, "mask");
  EXPECT_NE(mask.find("mask.ratio  number"), std::string::npos) << mask;
  EXPECT_EQ(mask.find("num_workers"), std::string::npos);
  const std::string one =
      "mask.ratio\n  meaning     share of patches hidden\n  type        number\n  range       of at least 0 and below "
      "1\n"
      "  default     0.4\n  aliases     mask_ratio\n  on resume   must stay the same\n";
  EXPECT_EQ(describe(Recipe{}, "mask.ratio"), one);
  EXPECT_EQ(describe(Recipe{}, "mask-ratio"), one);
  EXPECT_NE(describe(Recipe{}, "mask.kind").find("choice      random: each alone\n"), std::string::npos);
  EXPECT_NE(describe(Recipe{}, "objective.3.weight").find("objective.N.weight"), std::string::npos);
  EXPECT_EQ(message([] { describe(Recipe{}, "mask.raito"); }), "mask.raito: no such key; did you mean mask.ratio?");
}

TEST(Settings, LookAheadBeforeDefaultsAreChosen) {
  Settings settings = Settings::from_text("method = \"mae\"\n[mask]\nratio = 1", "r.toml");
  EXPECT_EQ(settings.peek_string("method"), "mae");
  EXPECT_EQ(settings.peek_string("model"), std::nullopt);
  EXPECT_EQ(settings.peek_string("mask.ratio"), std::nullopt) << "not text";
  EXPECT_TRUE(settings.has("mask"));
  EXPECT_TRUE(settings.has("mask.ratio"));
  EXPECT_FALSE(settings.has("mask.kind"));
  settings.override_with(Arguments{"method=beit"});
  EXPECT_EQ(settings.peek_string("method"), "beit");
}

TEST(Fields, RefuseNamesThatAreWrongOrTaken) {
  int value = 0;
  Fields fields;
  fields.add("a_b", value);
  EXPECT_THROW(fields.add("a_b", value), std::logic_error);
  EXPECT_THROW(fields.add("a-b", value), std::logic_error);
  EXPECT_THROW(fields.add("", value), std::logic_error);
}

}  // namespace
}  // namespace lacuna
