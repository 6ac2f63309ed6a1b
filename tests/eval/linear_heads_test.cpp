#include "eval/linear_heads.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "eval/linear_probe.h"
#include "eval/toys.h"
#include "io/files.h"
#include "nn/weights/weights.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using testing::largest_difference;

struct Case {
  const char* name;
  double peak;
  std::optional<double> norm_eps;
  ProbeUpdate update;
};

const Case kCases[] = {
    {"lars", 6.4, 1e-6, {}},
    {"lars_weight_decay", 3.2, 1e-6, {.weight_decay = 0.05}},
    {"sgd", 0.3, 1e-6, {.rule = ProbeRule::kSgd}},
    {"sgd_nesterov", 0.4, 1e-5, {.rule = ProbeRule::kSgd, .nesterov = true}},
    {"sgd_no_bn", 0.1, std::nullopt, {.rule = ProbeRule::kSgd}},
};

at::Tensor rates(double rate, at::ScalarType dtype) { return at::full({1}, rate, dtype); }

class ProbeGolden : public ::testing::TestWithParam<std::tuple<Case, at::ScalarType>> {};

TEST_P(ProbeGolden, TenStepsAgree) {
  LACUNA_NEEDS_SHARED("golden/eval/linear/linear_lars.safetensors");
  const auto& [one, dtype] = GetParam();
  const double tolerance = dtype == at::kDouble ? 1e-12 : 2e-6;
  const TensorFile file(testing::shared_folder() / text("golden/eval/linear/linear_", one.name, ".safetensors"));
  const auto golden = [&](const std::string& key) { return to_tensor(file.at(key)); };
  const at::Tensor features = golden("input.features").to(dtype), labels = golden("input.labels");
  LinearHeads heads(golden("weight.head.1.weight").to(dtype).unsqueeze(0),
                    golden("weight.head.1.bias").to(dtype).unsqueeze(0), one.norm_eps);
  for (int step = 0; step < 10; ++step) {
    SCOPED_TRACE(step);
    const double rate = probe_rate(one.peak, step / 4.0, 1, 5);
    EXPECT_NEAR(rate, golden("step.lr")[step].item<double>(), 1e-14);
    const LinearHeads::Gradients gradients = heads.gradients(features[step], labels[step]);
    heads.update(gradients, rates(rate, dtype), one.update);
    const std::string prefix = text("step", step, ".");
    EXPECT_LT(std::abs(gradients.loss.item<double>() - golden("step.loss")[step].item<double>()), 5 * tolerance);
    if (file.has(prefix + "grad.head.1.weight")) {
      EXPECT_LT(largest_difference(gradients.weight[0], golden(prefix + "grad.head.1.weight")), tolerance);
      EXPECT_LT(largest_difference(gradients.bias[0], golden(prefix + "grad.head.1.bias")), tolerance);
    }
    EXPECT_LT(largest_difference(heads.weight()[0], golden(prefix + "weight.head.1.weight")), tolerance);
    EXPECT_LT(largest_difference(heads.bias()[0], golden(prefix + "weight.head.1.bias")), tolerance);
    if (one.norm_eps) {
      EXPECT_LT(largest_difference(heads.running_mean(), golden(prefix + "buffer.head.0.running_mean")), tolerance);
      EXPECT_LT(largest_difference(heads.running_var(), golden(prefix + "buffer.head.0.running_var")), 2 * tolerance);
    }
  }
  const at::Tensor val = golden("input.val_features").to(dtype);
  const double logit_tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
  EXPECT_LT(largest_difference(heads.logits(val)[0], golden("output.val_logits")), logit_tolerance);
  if (one.norm_eps) {
    EXPECT_LT(
        largest_difference(heads.logits(val, Statistics::kBatch)[0], golden("output.val_logits_batch_statistics")),
        logit_tolerance);
  }
  const nlohmann::json json = read_json(testing::shared_folder() / "golden/eval/linear/linear.json")[one.name];
  const Accuracy accuracy = accuracy_of(places_of(heads.logits(val)[0], golden("input.val_labels")));
  EXPECT_NEAR(accuracy.top1, json["val_top1"].get<double>(), 1e-9);
  EXPECT_NEAR(accuracy.top5, json["val_top5"].get<double>(), 1e-9);
}

std::string case_name(const ::testing::TestParamInfo<ProbeGolden::ParamType>& one) {
  return text(std::get<0>(one.param).name, "_", at::toString(std::get<1>(one.param)));
}

INSTANTIATE_TEST_SUITE_P(Cases, ProbeGolden,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::Values(at::kDouble, at::kFloat)),
                         case_name);

at::Tensor nested(const nlohmann::json& value) {
  if (!value[0].is_array()) return torch::tensor(value.get<std::vector<double>>(), at::kDouble);
  std::vector<at::Tensor> rows;
  for (const auto& row : value) rows.push_back(nested(row));
  return at::stack(rows);
}

TEST(Lars, StepsWorkedOutByHandAgree) {
  LACUNA_NEEDS_SHARED("golden/eval/linear/linear.json");
  const nlohmann::json cases = read_json(testing::shared_folder() / "golden/eval/linear/linear.json")["lars_by_hand"];
  ASSERT_EQ(cases.size(), 6u);
  for (const nlohmann::json& one : cases) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const ProbeUpdate update{
        .momentum = one["momentum"], .trust = one["trust_coefficient"], .weight_decay = one["weight_decay"]};
    at::Tensor parameter = nested(one["parameter"]).unsqueeze(0);
    const at::Tensor momentum = at::zeros_like(parameter);
    for (const nlohmann::json& after : one["after_step"]) {
      update_parameter(parameter, nested(one["gradient_each_step"]).unsqueeze(0), momentum,
                       rates(one["lr"], at::kDouble), update);
      EXPECT_LT(largest_difference(parameter[0], nested(after).view_as(parameter[0])), 1e-14);
    }
  }
}

TEST(ProbeRate, FollowsTheNinetyEpochTable) {
  LACUNA_NEEDS_SHARED("golden/eval/linear/linear.json");
  const nlohmann::json table =
      read_json(testing::shared_folder() / "golden/eval/linear/linear.json")["lr_90_epochs_warmup_10_lr_6.4"];
  ASSERT_EQ(table.size(), 8u);
  for (const nlohmann::json& row : table) {
    EXPECT_NEAR(probe_rate(6.4, row[0], 10, 90), row[1].get<double>(), 1e-14) << row[0];
  }
}

TEST(LinearMicro, TheWholeMicroRunAgrees) {
  LACUNA_NEEDS_SHARED("golden/cae/linear_micro.safetensors");
  const TensorFile file(testing::shared_folder() / "golden/cae/linear_micro.safetensors");
  const auto golden = [&](const std::string& key) { return to_tensor(file.at(key)); };
  const at::Tensor features = golden("input.features"), labels = golden("input.labels");
  const at::Tensor weight = golden("weight.head.1.weight").to(at::kDouble).unsqueeze(0),
                   bias = golden("weight.head.1.bias").to(at::kDouble).unsqueeze(0);
  LinearHeads heads(weight, bias, kProbeNormEps);
  EXPECT_LT(largest_difference(heads.logits(features.slice(0, 0, 8), Statistics::kBatch)[0],
                               golden("output.logits_batch_stats")),
            1e-12);
  EXPECT_LT(largest_difference(heads.logits(features.slice(0, 0, 2))[0], golden("output.logits_running_stats")), 1e-12);
  const LinearHeads::Gradients first =
      LinearHeads(weight, bias, kProbeNormEps).gradients(features.slice(0, 0, 8), labels.slice(0, 0, 8));
  EXPECT_NEAR(first.loss.item<double>(), golden("loss.cross_entropy").item<double>(), 1e-12);
  EXPECT_LT(largest_difference(first.weight[0], golden("grad.head.1.weight")), 1e-12);
  EXPECT_LT(largest_difference(first.bias[0], golden("grad.head.1.bias")), 1e-12);
  for (int step = 0; step < 10; ++step) {
    const int64_t begin = step % 2 * 8;
    const double rate = probe_rate(6.4, step / 2.0, 2, 5);
    EXPECT_NEAR(rate, golden("steps.lr")[step].item<double>(), 1e-14);
    const auto gradients = heads.gradients(features.slice(0, begin, begin + 8), labels.slice(0, begin, begin + 8));
    EXPECT_NEAR(gradients.loss.item<double>(), golden("steps.loss")[step].item<double>(), 1e-12);
    heads.update(gradients, rates(rate, at::kDouble), {});
    if (step == 0) {
      EXPECT_LT(largest_difference(heads.running_var(), golden("buffer.after_one_forward.running_var")), 1e-12);
    }
  }
  EXPECT_LT(largest_difference(heads.weight()[0], golden("steps.final.head.1.weight")), 1e-12);
  EXPECT_LT(largest_difference(heads.bias()[0], golden("steps.final.head.1.bias")), 1e-12);
  EXPECT_LT(largest_difference(heads.running_mean(), golden("steps.final.running_mean")), 1e-12);
  EXPECT_LT(largest_difference(heads.running_var(), golden("steps.final.running_var")), 1e-12);
  EXPECT_LT(largest_difference(heads.logits(features)[0], golden("steps.final.logits_running_stats")), 1e-12);
}

TEST(LinearHeads, HeadsSideBySideAreHeadsAlone) {
  const Features data = testing::clusters(64, 4, 12, 0.7, 0);
  const at::Tensor x = data.values.to(at::kDouble), weight = at::arange(48, at::kDouble).sin().view({1, 4, 12}) * 0.1;
  const std::vector<double> peaks = {0.1, 1.0, 30.0};
  for (const ProbeRule rule : {ProbeRule::kLars, ProbeRule::kSgd}) {
    const ProbeUpdate update{.rule = rule};
    LinearHeads together(weight.expand({3, 4, 12}), at::zeros({3, 4}, at::kDouble), kProbeNormEps);
    std::vector<LinearHeads> alone;
    for (int i = 0; i < 3; ++i) alone.emplace_back(weight, at::zeros({1, 4}, at::kDouble), kProbeNormEps);
    for (int step = 0; step < 8; ++step) {
      const at::Tensor batch = x.slice(0, step * 8, step * 8 + 8),
                       labels = data.labels.slice(0, step * 8, step * 8 + 8);
      together.update(together.gradients(batch, labels), torch::tensor(peaks, at::kDouble), update);
      for (std::size_t i = 0; i < 3; ++i)
        alone[i].update(alone[i].gradients(batch, labels), rates(peaks[i], at::kDouble), update);
    }
    for (std::int64_t i = 0; i < 3; ++i)
      EXPECT_LT(largest_difference(together.weight()[i], alone[static_cast<std::size_t>(i)].weight()[0]), 1e-10);
  }
}

TEST(LinearHeads, ConstantFeaturesStayFinite) {
  LinearHeads heads(at::full({1, 3, 5}, 0.1), at::zeros({1, 3}), kProbeNormEps);
  const at::Tensor x = at::full({9, 5}, 1234.5f);
  for (int step = 0; step < 20; ++step)
    heads.update(heads.gradients(x, at::arange(9).remainder(3)), rates(6.4, at::kFloat), {});
  EXPECT_TRUE(at::isfinite(heads.weight()).all().item<bool>());
  EXPECT_TRUE(at::isfinite(heads.logits(x)).all().item<bool>());
}

}  // namespace
}  // namespace lacuna
