// Every row of the unified table (golden/unified/rows): teacher, normalisation, student, head, loss, gradients and ten
// optimizer steps, made of the product's own parts and compared with the reference.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "nn/dvae.h"
#include "nn/vqkd.h"
#include "support/unified_rows.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int kSteps = 10;
constexpr const char* kCases = "golden/unified/rows/cases.json";

// Written out, so that each row is a test of its own; another test compares the list with cases.json.
constexpr const char* kRows[] = {"maskdistill",
                                 "maskdistill.norm_identity",
                                 "maskdistill.norm_layer_norm_unbiased",
                                 "maskdistill.norm_layer_norm_eps1e-5",
                                 "maskdistill.norm_batch_norm",
                                 "maskdistill.norm_batch_scalar",
                                 "maskdistill.norm_instance_norm",
                                 "maskdistill.norm_l2",
                                 "maskdistill.feature_ln_post",
                                 "maskdistill.feature_ln_post_proj",
                                 "maskdistill.feature_raw_proj",
                                 "maskdistill.feature_with_cls",
                                 "maskdistill.feature_imagenet_stats",
                                 "maskdistill.loss_mse",
                                 "maskdistill.loss_l1",
                                 "maskdistill.loss_smooth_l1_beta1",
                                 "maskdistill.loss_one_minus_cosine",
                                 "maskdistill.loss_neg_cosine",
                                 "maskdistill.student_ape",
                                 "maskdistill.student_ape_rpb_per_block",
                                 "maskdistill.student_rpb_per_block",
                                 "maskdistill.student_sincos",
                                 "maskdistill.student_no_layer_scale",
                                 "maskdistill.student_full_qkv_bias",
                                 "maskdistill.teacher_clip14",
                                 "maskdistill.teacher_clip14_size",
                                 "maskdistill.teacher_vit_pre_norm",
                                 "maskdistill.teacher_vit_post_norm",
                                 "maskdistill.self_round2",
                                 "maskdistill.self_round2_post_norm",
                                 "maskdistill.teacher_pixels",
                                 "maskdistill.head_decoder",
                                 "maskdistill.mask_ragged",
                                 "maskdistill.no_mask",
                                 "maskdistill_asym",
                                 "maskdistill_asym_rpb",
                                 "beit",
                                 "beit2",
                                 "beit2_cls_path",
                                 "mae",
                                 "mae_raw_pixels",
                                 "simmim",
                                 "maskfeat",
                                 "maskfeat_gaussian",
                                 "mvp",
                                 "dbot_clip",
                                 "eva",
                                 "milan",
                                 "data2vec",
                                 "data2vec.instance_norm",
                                 "data2vec.batch_norm",
                                 "ibot",
                                 "fd",
                                 "dbot_self"};

// What golden/unified/README.md allows.
struct Limits {
  double loss, prediction, gradient, steps;
};

Limits limits_of(const std::string& row, at::ScalarType dtype) {
  if (dtype == at::kFloat) return {.loss = 1e-6, .prediction = 2e-6, .gradient = 1e-5, .steps = 1e-5};
  // simmim's reference adds 1e-5 to the number of hidden pixels.
  const double limit = row == "simmim" ? 1e-8 : 1e-10;
  return {.loss = limit, .prediction = 1e-10, .gradient = limit, .steps = limit};
}

// Losses that cross zero are compared as they are.
bool is_absolute(const std::string& row) {
  return row == "maskdistill.loss_neg_cosine" || row == "mvp" || row == "eva";
}

// Of the largest value; ids must be equal.
double relative(const at::Tensor& found, const at::Tensor& expected) {
  const double difference = deviation(found, expected);
  return at::isFloatingType(expected.scalar_type()) ? difference / largest(expected) : difference;
}

std::vector<double> numbers(const at::Tensor& x) {
  const at::Tensor flat = x.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

// A row, built and compared key by key.
class Comparison {
 public:
  Comparison(const std::string& row, at::ScalarType dtype)
      : row_(row),
        cells_(golden_json("unified/rows/cases.json").at("cases").at(row)),
        stored_(row),
        model_(cells_, stored_, dtype),
        limits_(limits_of(row, dtype)),
        dtype_(dtype) {}

  void masks() {
    const MaskPlan& plan = model_.plans[0];
    const auto expect_plan = [&](const MaskPlan& other, const char* from) {
      EXPECT_TRUE(other.visible.equal(plan.visible) && other.masked.equal(plan.masked)) << from;
    };
    const auto expect_input = [&](const char* name) {
      EXPECT_TRUE(stored_.at(text("input.", name)).equal(model_.store().input(name))) << name;
    };
    if (stored_.has("input.keep")) {
      const at::Tensor keep = std::get<0>(stored_.at("input.keep").sort(1));
      const at::Tensor first = at::arange(plan.batch).unsqueeze(1) * plan.patches;
      EXPECT_TRUE((keep + first).flatten().equal(plan.visible)) << "input.keep";
    }
    if (stored_.has("input.noise")) {
      expect_input("noise");
      expect_plan(plan_from_order(stored_.at("input.noise").argsort(int64_t{1}, false), plan.visible_count()),
                  "input.noise");
    }
    if (stored_.has("input.order")) {
      expect_input("exponential");
      const at::Tensor order = stored_.at("input.order");
      const at::Tensor keys = stored_.at("input.importance") / stored_.at("input.exponential").to(at::kDouble);
      EXPECT_TRUE(keys.argsort(int64_t{1}, true).equal(order)) << "input.order";
      expect_plan(plan_from_order(order, plan.visible_count()), "input.order");
      importance(stored_.at("input.importance"));
    }
  }

  void teacher() {
    const at::Tensor raw = raw_features();
    if (stored_.has("teacher.raw")) expect_tensor("teacher", "teacher.raw", raw, limits_.prediction);
    if (stored_.has("teacher.raw_cls")) {
      std::vector<at::Tensor> classes;
      for (size_t v = 0; v < model_.plans.size(); ++v) classes.push_back(model_.raw(v).grids.at(0).select(1, 0));
      expect_tensor("teacher", "teacher.raw_cls", at::stack(classes), limits_.prediction);
    }
    const Step step = model_.look();
    std::vector<at::Tensor> targets;
    for (size_t v = 0; v < model_.plans.size(); ++v) targets.push_back(model_.target(0, step, v));
    at::Tensor target = at::cat(targets);
    if (!at::isFloatingType(target.scalar_type())) target = target.squeeze(1);
    expect_tensor("target", "teacher.target", target, limits_.prediction);
    if (stored_.has("teacher.target_cls"))
      expect_tensor("target", "teacher.target_cls", of_each_view(1, &UnifiedModel::target, step), limits_.prediction);
  }

  void outputs() {
    const Step step = model_.look();
    if (stored_.has("output.latents"))
      expect_tensor("latents", "output.latents", in_sampling_order(step.passes.at(0).encoded.latents),
                    limits_.prediction);
    std::vector<at::Tensor> predictions, classes;
    for (size_t v = 0; v < step.passes.size(); ++v) {
      const Encoded& encoded = step.passes[v].encoded;
      predictions.push_back(model_.prediction(0, encoded.tokens, v));
      if (model_.objectives.size() > 1) classes.push_back(model_.prediction(1, encoded.tokens, v));
    }
    expect_tensor("prediction", "output.prediction", at::cat(predictions), limits_.prediction);
    if (stored_.has("output.prediction_cls"))
      expect_tensor("prediction", "output.prediction_cls", at::stack(classes), limits_.prediction);
    if (stored_.has("output.prediction_cls_path"))
      expect_tensor("prediction", "output.prediction_cls_path",
                    model_.prediction(0, step.passes[0].encoded.aggregated.value(), 0), limits_.prediction);

    const std::vector<ObjectiveLosses> losses = model_.losses(step);
    const auto expect = [&](const std::string& key, const at::Tensor& found) {
      if (stored_.has(key))
        expect_loss("loss", key, found.item<double>(), stored_.at(key).item<double>(), limits_.loss);
    };
    expect("output.loss", model_.total(losses));
    if (model_.objectives.size() > 1) {
      expect("output.loss_patch", losses[0].total);
      expect("output.loss_cls", losses[1].total);
    }
    if (const at::Tensor* second = find(losses[0].terms, "aggregated")) {
      expect("output.loss_cls_path", *second);
      expect("output.loss_main", losses[0].total - *second);
    }
  }

  void gradients() {
    model_.total(model_.losses(model_.look())).backward();
    const std::map<std::string, at::Tensor> trained = model_.trained();
    std::set<std::string> names;
    for (const auto& [name, parameter] : trained) names.insert(name);
    EXPECT_EQ(names, cells_.at("trainable").get<std::set<std::string>>());
    for (const std::string& key : stored_.keys("grad_norm.")) {
      const double found = at::linalg_vector_norm(trained.at(key.substr(10)).grad()).item<double>();
      ledger_.expect_relative("gradients", key, found, stored_.at(key).item<double>(), limits_.gradient);
    }
    for (const std::string& key : stored_.keys("grad.")) {
      const at::Tensor wanted = stored_.at(key);
      const at::Tensor found = trained.at(key.substr(5)).grad().view(wanted.sizes());
      ledger_.expect("gradients", key, relative(found, wanted), limits_.gradient);
    }
  }

  void steps() {
    AdamW optimizer(model_.parameters(), optimizer_cell(cells_));
    const std::vector<double> losses = numbers(stored_.at("steps.loss")),
                              norms = numbers(stored_.at("steps.grad_norm"));
    ASSERT_EQ(losses.size(), kSteps + 1u);
    ASSERT_EQ(norms.size(), kSteps + 0u);
    for (size_t i = 0; i < kSteps; ++i) {
      const auto [loss, norm] = model_.step(optimizer, cells_.at("optimizer").at("lr"));
      expect_loss("ten losses", text("loss before step ", i), loss, losses[i], limits_.steps);
      if (exact()) ledger_.expect_relative("ten gradient norms", text("step ", i), norm, norms[i], limits_.steps);
    }
    const std::map<std::string, at::Tensor> trained = model_.trained();
    const at::Tensor last = model_.total(model_.losses(model_.look()));
    expect_loss("ten losses", "loss after ten steps", last.item<double>(), losses[kSteps], limits_.steps);
    if (exact()) parameters(trained);
    const Json& said = cells_.at("expected");  // the summary agrees with the tensors
    EXPECT_EQ(said.at("loss").get<double>(), losses[0]);
    EXPECT_EQ(said.at("loss_after_10_steps").get<double>(), losses[kSteps]);
    EXPECT_EQ(said.at("grad_norm").get<double>(), norms[0]);
    EXPECT_EQ(optimizer.skipped().item<double>(), 0);
  }

  void nothing_is_left() const {
    for (const std::string& key : stored_.unused()) ADD_FAILURE() << "nothing was compared with " << key;
  }

 private:
  bool exact() const { return dtype_ == at::kDouble; }

  void expect_tensor(const char* group, const std::string& key, const at::Tensor& found, double limit) {
    ledger_.expect(group, key, relative(found, stored_.at(key)), limit);
  }
  void expect_loss(const char* group, const std::string& what, double found, double wanted, double limit) {
    if (!is_absolute(row_)) return ledger_.expect_relative(group, what, found, wanted, limit);
    ledger_.expect(group, what, std::abs(found - wanted), limit);
  }

  // The class token's attention, as the product gives it and, where float32 rounds, from the network itself.
  void importance(const at::Tensor& wanted) {
    ledger_.expect("importance in float32", "guide", relative(model_.objectives[0]->guide(model_.batch(), 0), wanted),
                   1e-6);
    FrozenVit frozen = open_frozen_vit(model_.teacher_folder());
    frozen.vit->to(at::kDouble);
    ledger_.expect("importance", "class attention",
                   relative(frozen.vit->class_attention(model_.teacher_view(0).to(at::kDouble)), wanted), 1e-10);
  }

  // A student that drops patches stores the visible ones in the order in which they were drawn; ours ascend.
  at::Tensor in_sampling_order(const at::Tensor& latents) {
    if (!stored_.has("input.keep")) return latents;
    const at::Tensor rank = stored_.at("input.keep").argsort(int64_t{1}, false).argsort(int64_t{1}, false);
    const at::Tensor rows = at::cat({at::zeros({rank.size(0), 1}, at::kLong), rank + 1}, 1);
    return latents.gather(1, rows.unsqueeze(2).expand_as(latents));
  }

  // As the row stores it: all tokens before normalisation, of a tokenizer what its ids are chosen by.
  at::Tensor raw_features() {
    const std::filesystem::path& folder = model_.teacher_folder();
    const at::NoGradGuard no_grad;
    const at::Tensor pixels = model_.teacher_view(0).to(at::kDouble);
    if (model_.teacher().config.kind == TeacherKind::kDvae) {
      DvaeEncoder dvae = open_dvae(folder);
      dvae->to(at::kDouble);
      return dvae->logits(pixels).flatten(2).transpose(1, 2);
    }
    if (model_.teacher().config.kind == TeacherKind::kVqkd) {
      Vqkd vqkd = open_vqkd(folder).model;
      vqkd->to(at::kDouble);
      return vqkd->cosines(VqkdImpl::map_pixels(model_.store().input("image01").to(at::kDouble)));
    }
    std::vector<at::Tensor> grids;
    for (size_t v = 0; v < model_.plans.size(); ++v) {
      for (const at::Tensor& grid : model_.raw(v).grids)
        grids.push_back(model_.teacher().class_token_stored ? grid : grid.slice(1, 1));
    }
    return grids.size() == 1 ? grids[0] : at::stack(grids);
  }

  at::Tensor of_each_view(size_t objective, at::Tensor (UnifiedModel::*give)(size_t, const Step&, size_t),
                          const Step& step) {
    std::vector<at::Tensor> out;
    for (size_t v = 0; v < model_.plans.size(); ++v) out.push_back((model_.*give)(objective, step, v));
    return at::stack(out);
  }

  void parameters(const std::map<std::string, at::Tensor>& trained) {
    for (const std::string& key : stored_.keys("step10.param.")) {
      const at::Tensor wanted = stored_.at(key);
      ledger_.expect("parameters after ten steps", key,
                     relative(trained.at(key.substr(13)).view(wanted.sizes()), wanted), limits_.steps);
    }
    double squares = 0;
    for (const auto& [name, parameter] : trained) squares += parameter.square().sum().item<double>();
    ledger_.expect_relative("parameters after ten steps", "sum of squares", squares,
                            stored_.at("step10.param_sumsq").item<double>(), limits_.steps);
  }

  std::string row_;
  Json cells_;
  StoredRow stored_;
  UnifiedModel model_;
  Limits limits_;
  at::ScalarType dtype_;
  Ledger ledger_;
};

class UnifiedTable : public ::testing::TestWithParam<const char*> {};

TEST_P(UnifiedTable, RowEqualsTheReferenceInFloat64) {
  LACUNA_NEEDS_SHARED(kCases);
  Comparison row(GetParam(), at::kDouble);
  row.masks();
  row.teacher();
  row.outputs();
  row.gradients();
  row.steps();
  row.nothing_is_left();
}

TEST_P(UnifiedTable, RowFollowsTheReferenceInFloat32) {
  LACUNA_NEEDS_SHARED(kCases);
  Comparison row(GetParam(), at::kFloat);
  row.outputs();
  row.gradients();
  row.steps();
}

INSTANTIATE_TEST_SUITE_P(Rows, UnifiedTable, ::testing::ValuesIn(kRows), [](const auto& each) {
  std::string name = each.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
});

TEST(UnifiedTableRows, AreAllThereAre) {
  LACUNA_NEEDS_SHARED(kCases);
  const std::set<std::string> rows(std::begin(kRows), std::end(kRows));
  std::set<std::string> cases, files;
  const Json all = golden_json("unified/rows/cases.json").at("cases");
  for (const auto& [name, row] : all.items()) cases.insert(name);
  for (const auto& entry : std::filesystem::directory_iterator(golden_path("unified/rows"))) {
    const std::string stem = entry.path().stem().string();
    if (entry.path().extension() == ".safetensors" && stem != "weights" && stem != "inputs") files.insert(stem);
  }
  EXPECT_EQ(rows, cases);
  EXPECT_EQ(rows, files);
}

// The exact row takes a network resized in float64; this is the product's own, resized in float32 as it is opened.
TEST(UnifiedTableRows, AFileAtAnotherSizeIsTheSameTeacherInFloat32) {
  LACUNA_NEEDS_SHARED(kCases);
  Ledger ledger;
  for (const std::string row : {"maskdistill.teacher_clip14", "maskdistill.teacher_clip14_size"}) {
    const Json cells = golden_json("unified/rows/cases.json").at("cases").at(row);
    StoredRow stored(row);
    UnifiedModel model(cells, stored, at::kFloat);
    EXPECT_NE(model.objectives[0]->teacher()->get().describe().find("CLIP"), std::string::npos);
    ledger.expect("teacher in float32", row, relative(model.raw(0).grids.at(0).slice(1, 1), stored.at("teacher.raw")),
                  2e-6);
  }
}

}  // namespace
}  // namespace lacuna
