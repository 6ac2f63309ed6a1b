// The rows of the table against the reference's table as data (golden/unified/rows.json): cells, defaults, and what a
// run at 224 pixels must show.

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "methods/methods.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// Their name -> ours. Rows of theirs that are not in our table, with what is missing.
const std::map<std::string, std::string> kNames = {{"maskdistill", "maskdistill"},
                                                   {"beit", "beit"},
                                                   {"beit2", "beit2"},
                                                   {"mae", "mae"},
                                                   {"simmim", "simmim"},
                                                   {"maskfeat", "maskfeat"},
                                                   {"mvp", "mvp"},
                                                   {"dbot_clip", "dbot_clip"},
                                                   {"eva", "eva"},
                                                   {"milan", "milan"},
                                                   {"fd", "feature_distillation"},
                                                   {"data2vec", "data2vec"},
                                                   {"ibot", "ibot"},
                                                   {"dbot_self", "dbot"},
                                                   {"cae", "cae"},
                                                   {"cae_v2", "cae_v2"},
                                                   {"mask_clip", "maskclip"},
                                                   {"con_mim", "conmim"}};
const std::map<std::string, std::string> kNotBuilt = {
    {"mask_align", "a learned mixer of the student's layers"},
    {"sdae", "a momentum teacher on folds of the hidden patches"},
    {"boot_mae", "two cross-attention decoders and weights by neighbourhood"},
    {"tiny_mim", "relations between queries and keys as targets"}};
// Ours that are not among theirs.
const std::set<std::string> kOurs = {"clip", "maskdistill_asymmetric"};

Json reference() { return golden_json("unified/rows.json").at("rows"); }

TEST(Table, HoldsEachRowOfTheReferenceOrSaysWhyNot) {
  LACUNA_NEEDS_SHARED("golden/unified/rows.json");
  std::set<std::string> known = kOurs;
  for (const Json& row : reference()) {
    const std::string name = row.at("name");
    EXPECT_TRUE(kNames.contains(name) || kNotBuilt.contains(name)) << name;
    if (kNames.contains(name)) known.insert(kNames.at(name));
  }
  for (const MethodRow& row : methods()) known.erase(row.name);
  for (const std::string& missing : known) ADD_FAILURE() << missing << " is not in the table";
}

class RowOfReference : public ::testing::TestWithParam<std::pair<const std::string, std::string>> {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/unified/rows.json");
    for (const Json& row : reference()) {
      if (row.at("name") == GetParam().first) row_ = row;
    }
    ASSERT_FALSE(row_.is_null());
    recipe_ = recipe_of(GetParam().second, "base");
  }
  // EVA's stand-in is its grid of 16 x 16 at a patch of 14.
  int64_t patches() const { return GetParam().first == "eva" ? 256 : 196; }

  Json row_;
  Recipe recipe_;
};

TEST_P(RowOfReference, ShowsWhatARunAt224PixelsMustShow) {
  const Json& expected = row_.at("check_224");
  const Composition& c = recipe_.composition;
  const int64_t hidden = c.mask.hidden(patches());
  const bool drops = c.student.mode == StudentMode::kDrop;
  if (expected.contains("encoder_tokens")) {
    EXPECT_EQ(1 + patches() - (drops ? hidden : 0), expected.at("encoder_tokens").get<int64_t>());
  }
  if (!expected.contains("loss_rows_per_image")) return;
  const Regions r = c.objectives.at(0).distill.region.weights();
  const int64_t rows = (r.cls > 0 ? 1 : 0) + (r.visible > 0 ? patches() - hidden : 0) + (r.masked > 0 ? hidden : 0);
  const Json& wanted = expected.at("loss_rows_per_image");
  if (wanted.is_number()) {
    EXPECT_EQ(rows, wanted.get<int64_t>());
    EXPECT_FALSE(c.mask.may_be_uneven());
  } else if (wanted.get<std::string>().starts_with("<=")) {
    EXPECT_EQ(rows, std::stoll(wanted.get<std::string>().substr(2)));
    EXPECT_TRUE(c.mask.may_be_uneven());
  }
}

TEST_P(RowOfReference, HasItsDefaults) {
  const Json defaults = row_.value("defaults", Json::object());
  const TrainConfig& train = recipe_.train;
  if (const Json o = defaults.value("optimizer", Json()); o.is_object()) {
    EXPECT_EQ(train.adamw.beta1, o.at("betas")[0].get<double>());
    EXPECT_EQ(train.adamw.beta2, o.at("betas")[1].get<double>());
    EXPECT_EQ(train.adamw.eps, o.at("eps").get<double>());
    EXPECT_EQ(train.adamw.weight_decay, o.at("weight_decay").get<double>());
    const bool by_tensor = o.contains("clip_per_tensor_norm");
    const Json clip = by_tensor ? o.at("clip_per_tensor_norm") : o.at("clip_global_norm");
    EXPECT_EQ(train.adamw.clip, clip.is_null() ? 0.0 : clip.get<double>());
    EXPECT_EQ(train.adamw.clip_scope, by_tensor ? ClipScope::kTensor : ClipScope::kGlobal);
    const std::vector<std::string> rules = o.at("no_decay");
    for (const std::string name : {"pos_embed", "cls_token"})
      EXPECT_EQ(std::count(train.adamw.no_decay.begin(), train.adamw.no_decay.end(), name),
                std::count(rules.begin(), rules.end(), name))
          << name;
    if (o.contains("weight_decay_end")) {
      EXPECT_EQ(train.adamw.weight_decay_end.value(), o.at("weight_decay_end").get<double>());
    }
  }
  if (const Json s = defaults.value("schedule", Json()); s.is_object()) {
    if (s.at("peak_lr").is_number()) {
      EXPECT_NEAR(train.base_lr, s.at("peak_lr").get<double>() * 256 / s.at("global_batch").get<double>(), 1e-12);
    }
    // The warm-up is kept as a share of one of the published lengths.
    const double epochs = s.at("warmup_epochs").get<double>();
    bool fits = false;
    Json lengths = s.at("epochs");
    if (s.contains("stages")) lengths.push_back(s.at("stages")[1]);  // a run is one stage
    for (const Json& length : lengths)
      fits = fits || std::abs(train.warmup.amount - 100 * epochs / length.get<double>()) < 1e-9;
    EXPECT_TRUE(fits) << train.warmup.amount << " %";
    EXPECT_EQ(train.warmup.unit, Duration::Unit::kPercent);
  }
  if (const Json a = defaults.value("augment", Json()); a.is_object() && a.contains("random_resized_crop")) {
    EXPECT_EQ(recipe_.augment.crop_min, a.at("random_resized_crop").at("scale")[0].get<double>());
    const std::string kernel = a.at("random_resized_crop").at("interpolation");
    EXPECT_EQ(name_of(kKernels, recipe_.composition.student.kernel), kernel);
    EXPECT_EQ(recipe_.augment.flip, a.at("hflip").get<double>());
    const Json& jitter = a.at("color_jitter");
    EXPECT_EQ(recipe_.augment.color_jitter, jitter.is_null() ? 0.0 : jitter.at("brightness").get<double>());
  }
  const Json& student = row_.at("cells").at("student");
  if (student.contains("drop_path")) {
    EXPECT_EQ(recipe_.composition.student.vit.drop_path, student.at("drop_path").get<double>());
  }
  if (student.contains("layer_scale")) {
    const Json& scale = student.at("layer_scale");
    EXPECT_EQ(recipe_.composition.student.vit.layer_scale.value_or(0), scale.is_null() ? 0.0 : scale.get<double>());
  }
}

INSTANTIATE_TEST_SUITE_P(Unified, RowOfReference, ::testing::ValuesIn(kNames.begin(), kNames.end()),
                         [](const auto& each) { return each.param.first; });

}  // namespace
}  // namespace lacuna
