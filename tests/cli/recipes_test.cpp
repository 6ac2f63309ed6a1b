// The files of recipes/: read by the code that pretrain uses, complete in what their heads promise, listed in
// docs/recipes.md, and equal to the published numbers.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/run_config.h"
#include "methods/methods.h"
#include "mim/mask.h"
#include "support/golden.h"
#include "support/process.h"

namespace lacuna {
namespace {

bool reads_teacher_weights(const Composition& composition) {
  return std::any_of(composition.objectives.begin(), composition.objectives.end(), [](const ObjectiveConfig& c) {
    const bool own = c.kind == ObjectiveKind::kDistill && c.shares.empty();
    return own && (origin_of(c.teacher.kind) == TeacherOrigin::kFile || c.teacher.kind == TeacherKind::kDvae);
  });
}

namespace fs = std::filesystem;
using namespace testing;  // NOLINT

const fs::path kRepository = LACUNA_SOURCE_DIR;

// ---- A recipe and its head ---------------------------------------------------------------------------------------

// Paths below recipes/ without the ending, in order.
std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  const fs::path folder = kRepository / "recipes";
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".toml")
      names.push_back(fs::relative(entry.path(), folder).replace_extension().generic_string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string path_of(const std::string& name) { return (kRepository / "recipes" / (name + ".toml")).string(); }

RunConfig parsed(const std::string& name, const Words& overrides = {}) {
  Words arguments = {path_of(name), "data=/images", "out=/run"};
  arguments.insert(arguments.end(), overrides.begin(), overrides.end());
  return parse_run(arguments);
}

// A head is made of lines "# key         text", continued by indented lines; then, after "# Variants", one variant a
// line: its arguments, and behind a second # what they are. A backslash carries arguments over to the next line.
struct Head {
  std::string command;
  std::map<std::string, std::string> entries;
  std::vector<Words> variants;
};

constexpr size_t kKeyWidth = 14;  // of "# key         "

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') + 1 - first);
}

// What looks like key=value.
Words arguments_in(const std::string& text) {
  Words out;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    while (!word.empty() && (word.back() == ',' || word.back() == ';')) word.pop_back();
    if (word.find('=') != std::string::npos) out.push_back(word);
  }
  return out;
}

void read_variant(const std::string& line, Words& open, Head& head) {
  if (line.starts_with("#     #")) return;
  const Words found = arguments_in(line.substr(1, line.find("  # ", 1) - 1));
  open.insert(open.end(), found.begin(), found.end());
  if (line.ends_with("\\")) return;
  head.variants.push_back(open);
  open.clear();
}

Head read_head(const std::string& name) {
  Head head;
  std::istringstream lines(content_of(path_of(name)));
  std::string key;
  Words open;
  bool variants = false;
  for (std::string line; std::getline(lines, line) && line.starts_with("#");) {
    if (line.starts_with("#   lacuna ")) head.command = trimmed(line.substr(1));
    if (line.starts_with("# Variants"))
      variants = true;
    else if (variants)
      read_variant(line, open, head);
    else if (line.size() > kKeyWidth && line.substr(2, 1) != " ")
      key = trimmed(line.substr(2, kKeyWidth - 2));
    if (!variants && line.size() > kKeyWidth && !key.empty()) head.entries[key] += line.substr(kKeyWidth) + " ";
  }
  const Words smaller = arguments_in(head.entries["scale down"]);
  if (!smaller.empty()) head.variants.push_back(smaller);
  return head;
}

std::string confidence_of(const Head& head) {
  const std::string& text = head.entries.at("confidence");
  return trimmed(text.substr(0, text.find(':')));
}

int64_t patches_of(const RunConfig& config) {
  const StudentConfig& student = config.recipe.composition.student;
  const int64_t grid = student.image_side.value_or(0) / student.patch_side.value_or(1);
  return grid * grid;
}

Plan plan_of(const RunConfig& config, int64_t images) {
  const TrainConfig& train = config.recipe.train;
  return make_plan(train, config.checkpoint, config.log, images / train.batch());
}

// What a run would refuse before it reads any weights.
void expect_runnable(const RunConfig& config, const std::string& what) {
  const Composition& c = config.recipe.composition;
  VitConfig vit = c.student.vit;
  vit.image_side = c.student.image_side.value();
  vit.patch_side = c.student.patch_side.value();
  EXPECT_NO_THROW(validate(vit)) << what;
  EXPECT_NO_THROW(Masker(c.mask, vit.grid())) << what;
  EXPECT_NO_THROW(plan_of(config, int64_t{1000} * config.recipe.train.batch())) << what;
  if (c.completer.kind != CompleterKind::kNone) {
    EXPECT_EQ(c.completer.width.value_or(vit.width) % c.completer.heads, 0) << what;
  }
}

// ---- Every file --------------------------------------------------------------------------------------------------

struct Recipes : ::testing::TestWithParam<std::string> {};

TEST_P(Recipes, IsReadAsItStandsAndSaysHowItIsTrained) {
  const RunConfig config = parsed(GetParam());
  ASSERT_TRUE(config.recipe.composition.student.image_side && config.recipe.composition.student.patch_side);
  EXPECT_TRUE(config.recipe.train.batch_size && config.recipe.train.lr) << "a rate means nothing without its batch";
  expect_runnable(config, GetParam());
  EXPECT_TRUE(config.teacher.empty() && config.seed == 0) << "left to the user";
}

TEST_P(Recipes, TheHeadNamesSourceConfidenceAndExpectedResult) {
  const Head head = read_head(GetParam());
  for (const std::string key : {"source", "confidence", "data", "expected"})
    ASSERT_TRUE(head.entries.contains(key) && head.entries.at(key).size() > 3) << key;
  EXPECT_TRUE(std::any_of(std::begin(kConfidences), std::end(kConfidences), [&](const auto& each) {
    return each.name == confidence_of(head);
  })) << confidence_of(head);
  EXPECT_NE(head.entries.at("expected").find("run to its end"), std::string::npos) << "says whether it was run";
  EXPECT_TRUE(head.command.starts_with("lacuna pretrain recipes/" + GetParam() + ".toml data=")) << head.command;
}

TEST_P(Recipes, TheHeadAsksForATeacherWhereOneIsRead) {
  const Head head = read_head(GetParam());
  const bool reads = reads_teacher_weights(parsed(GetParam()).recipe.composition);
  EXPECT_EQ(head.command.find(" teacher=") != std::string::npos, reads);
  EXPECT_EQ(head.entries.contains("teacher"), reads);
}

TEST_P(Recipes, EveryVariantIsReadAndChangesTheRun) {
  const RunConfig plain = parsed(GetParam());
  for (const Words& variant : read_head(GetParam()).variants) {
    std::string what = GetParam();
    for (const std::string& argument : variant) what += " " + argument;
    ASSERT_FALSE(variant.empty()) << "a line without arguments";
    try {
      const RunConfig config = parsed(GetParam(), variant);
      expect_runnable(config, what);
      EXPECT_GE(diff(plain, config).size(), 1u) << what;
    } catch (const Error& error) {
      ADD_FAILURE() << what << "\n" << error.what();
    }
  }
}

TEST_P(Recipes, IsARowOfTheDocumentation) {
  const std::string docs = content_of(kRepository / "docs/recipes.md");
  const size_t begin = docs.find("| [" + GetParam() + "](../recipes/" + GetParam() + ".toml) |");
  ASSERT_NE(begin, std::string::npos);
  const std::string row = docs.substr(begin, docs.find('\n', begin) - begin);
  EXPECT_NE(row.find("| `" + parsed(GetParam()).method + "` |"), std::string::npos) << row;
  EXPECT_TRUE(row.ends_with("| " + confidence_of(read_head(GetParam())) + " |")) << row;
}

std::string plain_name(const ::testing::TestParamInfo<std::string>& each) {
  std::string out = each.param;
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

INSTANTIATE_TEST_SUITE_P(Files, Recipes, ::testing::ValuesIn(recipe_names()), plain_name);

TEST(RecipeFolder, HasOneForEveryMethodAndTheDocumentationNoOther) {
  const std::vector<std::string> names = recipe_names();
  for (const MethodRow& row : methods()) {
    EXPECT_TRUE(std::any_of(names.begin(), names.end(), [&](const auto& name) {
      return parsed(name).method == row.name;
    })) << row.name;
  }
  const std::string docs = content_of(kRepository / "docs/recipes.md");
  size_t rows = 0;
  for (size_t at = docs.find("](../recipes/"); at != std::string::npos; at = docs.find("](../recipes/", at + 1)) ++rows;
  EXPECT_EQ(rows, names.size());
}

TEST(RecipeHeads, AreReadAsMeant) {
  const Head head = read_head("maskclip_base_yfcc15m");
  EXPECT_EQ(head.variants.size(), 15u) << "fourteen rows and the smaller run";
  EXPECT_EQ(head.variants.at(0), (Words{"objective.1.weight=0", "objective.2.weight=0"}));
  EXPECT_EQ(head.variants.at(10).size(), 7u) << "carried over two lines";
  EXPECT_TRUE(head.entries.at("expected").starts_with("ImageNet-1k zero-shot 44.5")) << head.entries.at("expected");
  EXPECT_EQ(confidence_of(head), "triangulated");
}

// ---- Published numbers -------------------------------------------------------------------------------------------

constexpr int64_t kImageNet = 1281167, kYfcc = 14689580;

struct Published {
  std::string recipe;
  int64_t images, steps, warmup, hidden;
  std::vector<std::pair<int64_t, double>> rates;  // cae.md 5.1, maskdistill.md 5.8
};

TEST(PublishedRuns, HaveTheirStepsMasksAndRates) {
  const std::vector<std::pair<int64_t, double>> beit2 = {{0, 0},
                                                         {1, 2.4003841e-7},
                                                         {6249, 1.5e-3},
                                                         {6250, 1.5e-3},
                                                         {93750, 7.95333487e-4},
                                                         {100000, 7.14666513e-4},
                                                         {187499, 1.0000000112e-5}};
  for (const Published& p :
       {Published{"cae_base_300", kImageNet, 187500, 6250, 98, beit2},
        {"cae_base_800", kImageNet, 500000, 12500, 98, {{250000, 7.84998125e-4}}},
        {"cae_base_1600", kImageNet, 1000000, 25000, 98, {}},
        {"cae_large_1600", kImageNet, 1000000, 25000, 98, {}},
        {"cae_v2_tiny", kImageNet, 187500, 6250, 30, beit2},
        {"cae_v2_small", kImageNet, 187500, 6250, 49, beit2},
        {"cae_v2_base", kImageNet, 187500, 6250, 98, beit2},
        {"cae_v2_large", kImageNet, 187500, 6250, 98, beit2},
        {"maskdistill_tiny", kImageNet, 187500, 6250, 78, beit2},
        {"maskdistill_small", kImageNet, 187500, 6250, 78, beit2},
        {"maskdistill_base_300", kImageNet, 187500, 6250, 78, beit2},
        {"maskdistill_base_800", kImageNet, 500000, 6250, 78, {}},
        {"maskdistill_large_300", kImageNet, 187500, 6250, 78, beit2},
        {"maskdistill_base_300_clip_l14", kImageNet, 187500, 6250, 78, beit2},
        {"maskdistill_large_300_clip_l14", kImageNet, 187500, 6250, 78, beit2},
        {"maskdistill_huge_300", kImageNet, 187500, 6250, 102, beit2},
        {"maskdistill_asymmetric_base", kImageNet, 187500, 6250, 147, beit2},
        {"beit2_base_300", kImageNet, 187500, 6250, 75, beit2},
        {"mae_base_1600", kImageNet, 499200, 12480, 147, {{12480, 2.4e-3}}},
        {"simmim_base_800", kImageNet, 500000, 6250, 120, {}},
        {"maskclip_base_yfcc15m", kYfcc, 89650, 3586, 147, {{0, 1e-6}, {3585, 5e-4}, {3586, 5e-4}}},
        {"clip_base_yfcc15m", kYfcc, 89650, 3586, 0, {{0, 1e-6}, {3586, 5e-4}}}}) {
    const RunConfig config = parsed(p.recipe);
    const Plan plan = plan_of(config, p.images);
    EXPECT_EQ(plan.total, p.steps) << p.recipe;
    EXPECT_EQ(plan.schedule.warmup, p.warmup) << p.recipe;
    EXPECT_EQ(config.recipe.composition.mask.hidden(patches_of(config)), p.hidden) << p.recipe;
    for (const auto& [step, rate] : p.rates)
      EXPECT_NEAR(plan.schedule.at(step), rate, 1e-8 * std::max(rate, 1e-4)) << p.recipe << " step " << step;
  }
}

// Tables of the official schedules. `shift`: where a table's value k is the rate of step k + 1. `per_epoch`: where its
// keys are epochs.
struct StoredSchedule {
  std::string recipe, table;
  int64_t shift = 0;
  bool per_epoch = false;
  Words overrides = {};
};

TEST(PublishedRuns, FollowTheStoredSchedulesOfTheirOfficialPrograms) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/schedules.json");
  const Json tables = golden_json("unified/tables/schedules.json");
  Ledger ledger;
  for (const StoredSchedule& s : {StoredSchedule{"beit2_base_300", "beit2_pretrain_300ep_bs2048"},
                                  {"beit_base_800", "beit_pretrain_800ep_bs2048"},
                                  {"mae_base_1600", "mae_800ep_bs4096", 0, true, {"duration=800"}},
                                  {"maskfeat_base_300", "maskfeat_300ep_bs2048", 0, true},
                                  {"simmim_base_800", "simmim_vit_800ep_bs2048", 1},
                                  {"feature_distillation_base_300", "fd_300ep_bs2048", 1}}) {
    const Plan plan = plan_of(parsed(s.recipe, s.overrides), kImageNet);
    ASSERT_GT(tables.at(s.table).at("values").size(), 5u) << s.table;
    for (const auto& [key, value] : tables.at(s.table).at("values").items()) {
      // A fraction of an epoch that is no whole step is compared with the line between its neighbours.
      const double at = std::stod(key) * static_cast<double>(s.per_epoch ? plan.steps_per_epoch : 1);
      const int64_t step = static_cast<int64_t>(at + 1e-9) + s.shift;
      const double share = at - static_cast<double>(step - s.shift);
      const double rate = share < 1e-6 ? plan.schedule.at(step)
                                       : (1 - share) * plan.schedule.at(step) + share * plan.schedule.at(step + 1);
      ledger.expect(s.recipe + ", relative to the peak", text(s.table, " at ", key),
                    std::abs(rate - value.get<double>()) / plan.schedule.peak, share < 1e-6 ? 1e-13 : 1e-9);
    }
  }
}

TEST(PublishedRuns, FollowTheStoredSchedulesOfCaeAndSlip) {
  LACUNA_NEEDS_SHARED("golden/cae/schedules.json");
  Ledger ledger;
  const auto compare = [&](const std::string& recipe, int64_t images, const Json& steps, const Json& rates) {
    const Plan plan = plan_of(parsed(recipe), images);
    ASSERT_EQ(steps.size(), rates.size());
    ASSERT_GT(steps.size(), 10u);
    for (size_t i = 0; i < steps.size(); ++i) {
      ledger.expect(recipe + ", relative to the peak", text("step ", steps[i].get<int64_t>()),
                    std::abs(plan.schedule.at(steps[i]) - rates[i].get<double>()) / plan.schedule.peak, 1e-13);
    }
  };
  const Json cae = golden_json("cae/schedules.json").at("lr");
  for (const auto& [recipe, table] : {std::pair{"cae_base_300", "cae_base_300e"},
                                      {"cae_base_800", "cae_base_800e"},
                                      {"cae_base_1600", "cae_1600e"},
                                      {"cae_large_1600", "cae_1600e"},
                                      {"cae_v2_base", "caev2_300e"}})
    compare(recipe, kImageNet, cae.at(table).at("index"), cae.at(table).at("value"));
  const Json slip = golden_json("maskclip/schedules.json").at("yfcc_25_epochs_3586_steps");
  for (const auto* recipe : {"maskclip_base_yfcc15m", "clip_base_yfcc15m"})
    compare(recipe, kYfcc, slip.at("step"), slip.at("lr_slip"));
}

// The defaults stored beside the unified table, field by field.
void expect_stored_training(const std::string& recipe, const Json& row) {
  const Json &schedule = row.at("defaults").at("schedule"), &optimizer = row.at("defaults").at("optimizer");
  const RunConfig config = parsed(recipe);
  const TrainConfig& train = config.recipe.train;
  EXPECT_EQ(train.batch(), schedule.at("global_batch")) << recipe;
  if (!schedule.at("peak_lr").is_null()) {
    EXPECT_DOUBLE_EQ(train.peak_lr(), schedule.at("peak_lr")) << recipe;
  }
  if (schedule.contains("min_lr")) {
    EXPECT_DOUBLE_EQ(train.floor_lr(), schedule.at("min_lr")) << recipe;
  }
  EXPECT_EQ(train.warmup, (Duration{schedule.at("warmup_epochs"), Duration::Unit::kEpochs})) << recipe;
  EXPECT_EQ(train.schedule.warmup_start_lr, schedule.at("warmup_start")) << recipe;
  EXPECT_EQ(train.adamw.beta1, optimizer.at("betas")[0]) << recipe;
  EXPECT_EQ(train.adamw.beta2, optimizer.at("betas")[1]) << recipe;
  EXPECT_EQ(train.adamw.eps, optimizer.at("eps")) << recipe;
  EXPECT_EQ(train.adamw.weight_decay, optimizer.at("weight_decay")) << recipe;
  EXPECT_EQ(train.adamw.weight_decay_end.value_or(-1), optimizer.value("weight_decay_end", -1.0)) << recipe;
  const bool per_tensor = optimizer.contains("clip_per_tensor_norm");
  EXPECT_EQ(train.adamw.clip_scope, per_tensor ? ClipScope::kTensor : ClipScope::kGlobal) << recipe;
  const Json& clip = optimizer.at(per_tensor ? "clip_per_tensor_norm" : "clip_global_norm");
  EXPECT_EQ(train.adamw.clip, clip.is_null() ? 0.0 : clip.get<double>()) << recipe;
  std::vector<std::string> no_decay = optimizer.at("no_decay");
  ASSERT_GE(no_decay.size(), 2u);
  EXPECT_EQ(train.adamw.no_decay, std::vector<std::string>(no_decay.begin() + 2, no_decay.end())) << recipe;
}

void expect_stored_images(const std::string& recipe, const Json& row) {
  const RunConfig config = parsed(recipe);
  const Composition& c = config.recipe.composition;
  EXPECT_EQ(c.student.vit.drop_path, row.at("defaults").at("drop_path")) << recipe;
  const Json& mask = row.at("cells").at("mask");
  if (mask.is_null()) {
    EXPECT_EQ(c.mask.kind, MaskKind::kNone) << recipe;
  } else if (mask.contains("count")) {
    EXPECT_EQ(c.mask.hidden(patches_of(config)), mask.at("count")) << recipe;
  }
  const Json& augment = row.at("defaults").at("augment");
  if (!augment.contains("random_resized_crop")) return;  // iBOT's views, which are described in words
  EXPECT_EQ(config.recipe.augment.crop_min, augment.at("random_resized_crop").at("scale")[0]) << recipe;
  EXPECT_EQ(config.recipe.augment.flip, augment.at("hflip")) << recipe;
  const Json& jitter = augment.at("color_jitter");
  EXPECT_EQ(config.recipe.augment.color_jitter, jitter.is_null() ? 0.0 : jitter.at("brightness").get<double>())
      << recipe;
}

TEST(PublishedRuns, HaveTheStoredDefaultsOfTheirRows) {
  LACUNA_NEEDS_SHARED("golden/unified/rows.json");
  const Json rows = golden_json("unified/rows.json").at("rows");
  const std::map<std::string, std::string> recipes = {{"maskdistill", "maskdistill_base_300"},
                                                      {"beit", "beit_base_800"},
                                                      {"beit2", "beit2_base_300"},
                                                      {"mae", "mae_base_1600"},
                                                      {"simmim", "simmim_base_800"},
                                                      {"maskfeat", "maskfeat_base_300"},
                                                      {"mvp", "mvp_base_300"},
                                                      {"dbot_clip", "dbot_clip_base_1600"},
                                                      {"eva", "eva_giant_150"},
                                                      {"milan", "milan_base_400"},
                                                      {"fd", "feature_distillation_base_300"},
                                                      {"data2vec", "data2vec_base_800"},
                                                      {"ibot", "ibot_base_400"},
                                                      {"dbot_self", "dbot_base_800"},
                                                      {"cae", "cae_base_300"},
                                                      {"cae_v2", "cae_v2_base"}};
  size_t compared = 0;
  for (const Json& row : rows) {
    const auto found = recipes.find(row.at("name"));
    if (found == recipes.end()) continue;
    ++compared;
    expect_stored_training(found->second, row);
    expect_stored_images(found->second, row);
    const Json& epochs = row.at("defaults").at("schedule").at("epochs");
    const double length = parsed(found->second).recipe.train.duration.amount;
    const bool one_stage = row.at("name") == "dbot_self";  // of two
    EXPECT_NE(std::find(epochs.begin(), epochs.end(), one_stage ? 2 * length : length), epochs.end()) << found->second;
  }
  EXPECT_EQ(compared, recipes.size());
}

}  // namespace
}  // namespace lacuna
