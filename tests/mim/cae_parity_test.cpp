// CAE v2 against the official code's tensors: every stored activation, loss, gradient and optimizer step of two micro
// models, in float64 and float32. A stored tensor that nothing here compares fails the test.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "mim/loss.h"
#include "support/cae_model.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// Limits of the reference's README; "relative" where it says so.
struct Limits {
  double value, loss_relative, gradient_relative, step_relative, parameter_probe;
};
constexpr Limits kF64{1e-11, 1e-11, 1e-6, 1e-10, 1e-11};
constexpr Limits kF32{1e-5, 1e-6, 2e-5, 2e-6, 1e-4};

// Keys of the steps that are no figure of CAE v2.
const std::map<std::string, std::string> kOutOfScope = {
    {"steps.alias.loss_align", "the alignment loss is CAE's; stored as zeros"}};

std::vector<std::vector<uint8_t>> rows_of(const at::Tensor& mask) {
  std::vector<std::vector<uint8_t>> out;
  for (int64_t b = 0; b < mask.size(0); ++b) {
    const at::Tensor row = mask[b].contiguous();
    out.emplace_back(row.data_ptr<uint8_t>(), row.data_ptr<uint8_t>() + row.numel());
  }
  return out;
}

struct Variant {
  std::string name;
  at::ScalarType dtype;
};

class CaeParity : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/cae/" + GetParam().name + ".json");
    golden_ = std::make_unique<CaeGolden>(GetParam().name);
    model_ = std::make_unique<CaeModel>(CaeSizes::of(golden_->json().at("case")),
                                        golden_->input("input.teacher_features").to(GetParam().dtype));
    model_->module().to(GetParam().dtype);
    model_->fill([&](const std::string& key, at::IntArrayRef) { return golden_->weight(key); });
    images_ = golden_->input("input.image").to(GetParam().dtype);
    plan_ = plan_from_masks(rows_of(golden_->at("input.mask")), at::kCPU);
  }

  bool is_double() const { return GetParam().dtype == at::kDouble; }
  const Limits& limits() const { return is_double() ? kF64 : kF32; }
  std::set<std::string> listed(const char* list) const { return golden_->json().at(list).get<std::set<std::string>>(); }

  // Compares everything stored under `prefix` with `found` (names without it), both ways.
  void expect_all(const std::string& prefix, const std::map<std::string, at::Tensor>& found, double limit) {
    size_t compared = 0;
    for (const std::string& key : golden_->keys()) {
      if (!key.starts_with(prefix)) continue;
      const auto mine = found.find(key.substr(prefix.size()));
      if (mine == found.end()) {
        ADD_FAILURE() << "nothing was compared with " << key;
        continue;
      }
      ledger_.expect_close(prefix, key, mine->second, golden_->at(key), limit);
      ++compared;
    }
    EXPECT_EQ(compared, found.size()) << "some tensors of ours have no counterpart under " << prefix;
    EXPECT_GT(compared, 0u);
  }

  std::unique_ptr<CaeGolden> golden_;
  std::unique_ptr<CaeModel> model_;
  at::Tensor images_;
  MaskPlan plan_;
  Ledger ledger_;
};

TEST_P(CaeParity, SplitsPatchesAsTheReferenceDoes) {
  const at::Tensor first = at::arange(plan_.batch).unsqueeze(1) * plan_.patches;
  EXPECT_TRUE((golden_->at("input.visible_index") + first).flatten().equal(plan_.visible));
  EXPECT_TRUE((golden_->at("input.masked_index") + first).flatten().equal(plan_.masked));
  EXPECT_TRUE(golden_->at("input.mask_grid").flatten(1).equal(golden_->at("input.mask")));
}

TEST_P(CaeParity, EveryActivationAgrees) {
  const auto found = model_->activations(images_, plan_);
  expect_all("act.", found, limits().value);
  // The regressor by hand, block by block, is what its forward gives.
  const std::string last = text("regresser.regressor_blocks.", model_->sizes.regressor_depth - 1);
  EXPECT_TRUE(found.at(last).equal(found.at("regresser")));
}

TEST_P(CaeParity, PredictionTargetAndTokenLossesAgree) {
  const at::NoGradGuard no_grad;
  const Tokens tokens = model_->encode(images_, plan_);
  const at::Tensor head = model_->head().forward(tokens.join(kAllRegions));
  const at::Tensor features = golden_->input("input.teacher_features").to(GetParam().dtype);
  const at::Tensor target = normalize(split_tokens(features, plan_).join(kAllRegions), NormalizeKind::kUnit);
  expect_all("output.",
             {{"prediction", normalize(head, NormalizeKind::kUnit)},
              {"target", target},
              {"token_loss", token_loss(head, target, LossConfig{})},
              {"latent_predict", model_->head().named_children()["norm"]->as<LayerNormImpl>()->forward(tokens.masked)}},
             limits().value);
}

TEST_P(CaeParity, LossesAgree) {
  const ObjectiveLosses losses = model_->losses(images_, plan_);
  std::map<std::string, at::Tensor> found = {{"total", losses.total}};
  for (const auto& [name, value] : losses.terms) found[name] = value;
  expect_all("loss.", found, limits().loss_relative);
  for (const auto& [name, value] : golden_->json().at("loss").items())
    ledger_.expect_relative("loss.", name, found.at(name).item<double>(), value, limits().loss_relative);
}

TEST_P(CaeParity, EveryGradientAgrees) {
  model_->losses(images_, plan_).total.backward();
  const std::set<std::string> without = listed("no_gradient"), zero = listed("zero_gradient");
  std::set<std::string> compared;
  for (const auto& [name, parameter] : model_->parameters()) {
    const std::string& key = model_->official(name);
    if (without.contains(key)) {
      EXPECT_FALSE(parameter.grad().defined()) << key;
      continue;
    }
    ASSERT_TRUE(parameter.grad().defined()) << key;
    compared.insert(key);
    if (zero.contains(key)) {  // what is stored is rounding noise
      ledger_.expect("gradients that are zero by symmetry", key, largest(parameter.grad()), is_double() ? 1e-18 : 1e-9);
      continue;
    }
    const at::Tensor expected = golden_->at("grad." + key);
    ledger_.expect("grad. relative to the tensor's largest", key,
                   deviation(parameter.grad(), expected.reshape(parameter.sizes())) / largest(expected),
                   limits().gradient_relative);
    if (!is_double()) continue;
    const at::Tensor row = golden_->row("gradprobe", "gradprobe_rows", key);
    ASSERT_TRUE(row.defined()) << key;
    const auto mine = probe(key, parameter.grad());
    for (int64_t i = 0; i < 3; ++i) {
      const double wanted = row[i].item<double>();
      ledger_.expect("gradprobe, as a share of its limit", text(key, "[", i, "]"),
                     std::abs(mine[static_cast<size_t>(i)] - wanted) / (1e-8 * std::abs(wanted) + 1e-12), 1.0);
    }
  }
  for (const std::string& key : golden_->keys()) {
    if (key.starts_with("grad.")) {
      EXPECT_TRUE(compared.contains(key.substr(5))) << "nothing was compared with " << key;
    }
  }
  for (const std::string& key : listed("gradprobe_rows")) EXPECT_TRUE(compared.contains(key)) << key;

  const auto norms = model_->gradient_norms();
  for (const auto& [part, norm] : golden_->json().at("grad_norm").items())
    ledger_.expect_relative("gradient norms by part, relative", part, norms.at(part), norm, is_double() ? 1e-10 : 2e-6);
}

TEST_P(CaeParity, TenOptimizerStepsAgree) {
  const Json& hyper = golden_->json().at("hyper");
  const NamedTensors parameters = model_->parameters();
  AdamW optimizer(parameters, {.weight_decay = hyper.at("weight_decay"),
                               .beta1 = hyper.at("betas")[0],
                               .beta2 = hyper.at("betas")[1],
                               .eps = hyper.at("eps"),
                               .clip = hyper.at("clip_grad")});
  const at::Tensor losses = golden_->at("steps.alias.loss"), norms = golden_->at("steps.alias.grad_norm");
  const int64_t steps = losses.numel();
  ASSERT_EQ(steps, 10);
  EXPECT_TRUE(golden_->at("steps.alias.loss_main").equal(losses));
  for (int64_t k = 0; k < steps; ++k) {
    optimizer.zero_grad();
    const at::Tensor loss = model_->losses(images_, plan_).total;
    loss.backward();
    const at::Tensor norm = optimizer.step(hyper.at("lr"));
    ledger_.expect_relative("steps: loss, relative", text(k), loss.item<double>(), losses[k].item<double>(),
                            limits().step_relative);
    ledger_.expect_relative("steps: gradient norm, relative", text(k), norm.item<double>(), norms[k].item<double>(),
                            limits().step_relative);
    for (const auto& [name, parameter] : parameters) {
      const std::string& key = model_->official(name);
      const at::Tensor row = golden_->row("steps.alias.param_probe", "param_probe_rows", key);
      ASSERT_TRUE(row.defined()) << key;
      const auto mine = probe(key, parameter);
      for (int64_t i = 0; i < 3; ++i)
        ledger_.expect("steps: weights' probes", text(key, "[", i, "] after step ", k),
                       std::abs(mine[static_cast<size_t>(i)] - row[k][i].item<double>()), limits().parameter_probe);
    }
  }
  EXPECT_EQ(optimizer.skipped().item<float>(), 0);
  std::map<std::string, at::Tensor> final;
  for (const auto& [name, parameter] : parameters) {
    const bool stored =
        std::count(golden_->keys().begin(), golden_->keys().end(), "steps.alias.final." + model_->official(name)) > 0;
    EXPECT_EQ(stored, parameter.dim() == 1 || name.ends_with("_token")) << name;
    if (stored) final[model_->official(name)] = parameter;
  }
  expect_all("steps.alias.final.", final, limits().parameter_probe);
}

TEST_P(CaeParity, EveryKindOfStoredTensorIsKnown) {
  for (const std::string& key : golden_->keys()) {
    bool known = key == "gradprobe";
    for (const char* prefix : {"act.", "grad.", "input.", "loss.", "output.", "weight.", "steps.alias.final."})
      known = known || key.starts_with(prefix);
    for (const char* name : {"loss", "loss_main", "grad_norm", "param_probe"})
      known = known || key == text("steps.alias.", name);
    EXPECT_TRUE(known || kOutOfScope.contains(key)) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, CaeParity,
                         ::testing::Values(Variant{"caev2_micro", at::kDouble}, Variant{"caev2_micro", at::kFloat},
                                           Variant{"caev2_adapter_micro", at::kDouble},
                                           Variant{"caev2_adapter_micro", at::kFloat}),
                         [](const auto& each) {
                           return each.param.name + (each.param.dtype == at::kDouble ? "_f64" : "_f32");
                         });

// The stored weights are the rule's values rounded to float32; these figures are for the rule itself, and so need no
// file.
class FillRule : public ::testing::TestWithParam<std::string> {};

TEST_P(FillRule, AloneGivesTheReferencesCurve) {
  LACUNA_NEEDS_SHARED("golden/cae/" + GetParam() + ".json");
  CaeGolden golden(GetParam());
  const CaeSizes sizes = CaeSizes::of(golden.json().at("case"));
  CaeModel model(sizes, unit_tensor("clip_target", {sizes.batch, 1 + sizes.patches(), sizes.target}));
  model.module().to(at::kDouble);
  model.fill(filled_parameter);
  const at::Tensor images = 2 * unit_tensor("input", {sizes.batch, 3, sizes.image, sizes.image});
  EXPECT_TRUE(images.equal(golden.input("input.image").to(at::kDouble)));
  const MaskPlan plan = plan_from_masks(filled_masks(sizes.batch, sizes.patches(), sizes.masked), at::kCPU);
  EXPECT_TRUE(plan.masked.equal(plan_from_masks(rows_of(golden.at("input.mask")), at::kCPU).masked));
  Ledger ledger;

  const Json& stored = golden.json().at("double_fill");
  AdamW optimizer(model.parameters(), {});  // the defaults are the official settings
  for (size_t k = 0; k < 10; ++k) {
    optimizer.zero_grad();
    const ObjectiveLosses losses = model.losses(images, plan);
    losses.total.backward();
    if (k == 0) {
      for (const auto& [name, value] : losses.terms)
        ledger.expect_relative("loss, relative", name, value.item<double>(), stored.at("loss").at(name), 1e-11);
      const auto norms = model.gradient_norms();
      for (const auto& [part, norm] : stored.at("grad_norm").items())
        ledger.expect_relative("gradient norms by part, relative", part, norms.at(part), norm, 1e-10);
    }
    const Json& steps = stored.at("steps_alias");
    ledger.expect_relative("steps: loss, relative", text(k), losses.total.item<double>(), steps.at("loss")[k], 1e-10);
    ledger.expect_relative("steps: gradient norm, relative", text(k), optimizer.step(1.5e-3).item<double>(),
                           steps.at("grad_norm")[k], 1e-10);
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, FillRule, ::testing::Values("caev2_micro", "caev2_adapter_micro"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace lacuna
