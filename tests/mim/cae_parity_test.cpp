// CAE and CAE v2 against the official code's tensors: every stored activation, loss, gradient and optimizer step of
// three micro models, in float64 and float32. A stored tensor that nothing here compares fails the test.

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

constexpr const char* kStepTensors[] = {"loss", "loss_main", "loss_align", "grad_norm", "param_probe"};

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
    sizes_ = CaeSizes::of(golden_->json().at("case"));
    images_ = golden_->input("input.image").to(GetParam().dtype);
    plan_ = plan_from_masks(rows_of(golden_->at("input.mask")), at::kCPU);
    build("alias");
  }

  // The model with its first weights. CAE's alignment follows by `rule`.
  void build(const std::string& rule) {
    model_ = is_v2() ? std::make_unique<CaeModel>(sizes_, golden_->input("input.teacher_features").to(GetParam().dtype))
                     : std::make_unique<CaeModel>(sizes_, golden_->at("input.token_ids").flatten(1), target_rule(rule));
    model_->module().to(GetParam().dtype);
    model_->fill([&](const std::string& key, at::IntArrayRef) { return golden_->weight(key); });
  }

  bool is_v2() const { return sizes_.is_v2(); }
  bool is_double() const { return GetParam().dtype == at::kDouble; }
  const Limits& limits() const { return is_double() ? kF64 : kF32; }
  std::set<std::string> listed(const char* list) const { return golden_->json().at(list).get<std::set<std::string>>(); }
  std::vector<std::string> rules() const {
    return is_v2() ? std::vector<std::string>{"alias"}
                   : std::vector<std::string>{"alias", "lag1", "ema_in_forward_0.9", "ema_after_step_0.9"};
  }

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

  std::map<std::string, at::Tensor> outputs_of_v2();
  std::map<std::string, at::Tensor> outputs_of_cae();
  void ten_steps(const std::string& rule);

  std::unique_ptr<CaeGolden> golden_;
  CaeSizes sizes_;
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
  if (is_v2()) return;
  const at::Tensor ids = golden_->at("input.token_ids").flatten(1);
  EXPECT_TRUE(plan_.pick_masked(ids.unsqueeze(2)).flatten().equal(golden_->at("input.labels")));
}

TEST_P(CaeParity, EveryActivationAgrees) {
  const auto found = model_->activations(images_, plan_);
  expect_all("act.", found, limits().value);
  // The regressor by hand, block by block, is what its own pass gives.
  const std::string last = is_v2() ? text("regresser.regressor_blocks.", sizes_.regressor_depth - 1) : "regresser.norm";
  EXPECT_TRUE(found.at(last).equal(found.at("regresser")));
}

std::map<std::string, at::Tensor> CaeParity::outputs_of_v2() {
  const Tokens tokens = model_->encode(images_, plan_);
  const at::Tensor head = model_->objective().predict(tokens, plan_, nullptr);
  const at::Tensor features = golden_->input("input.teacher_features").to(GetParam().dtype);
  const NormalizeConfig unit{.kind = NormalizeKind::kUnit};
  const at::Tensor target = normalize(split_tokens(features, plan_).join(kAllRegions), unit);
  return {{"prediction", normalize(head, unit)},
          {"target", target},
          {"token_loss", token_loss(head, target, LossConfig{})},
          {"latent_predict", model_->head().named_children()["norm"]->as<LayerNormImpl>()->forward(tokens.masked)}};
}

std::map<std::string, at::Tensor> CaeParity::outputs_of_cae() {
  const Encoded encoded = model_->look(images_, plan_);
  const Batch batch = batch_of(images_);
  const StepContext context;
  const Step step{.batch = batch, .context = context, .passes = {{.plan = plan_, .encoded = encoded}}};
  const Tokens target = model_->objective(1).targets(step, 0, plan_, /*remember=*/false);
  EXPECT_FALSE(target.masked.requires_grad());
  return {{"logits", model_->objective(0).predict(encoded.tokens, plan_, nullptr).flatten(0, 1)},
          {"latent_predict", model_->objective(1).predict(encoded.tokens, plan_, nullptr)},
          {"latent_target", target.masked}};
}

TEST_P(CaeParity, PredictionsTargetsAndTokenLossesAgree) {
  const at::NoGradGuard no_grad;
  expect_all("output.", is_v2() ? outputs_of_v2() : outputs_of_cae(), limits().value);
}

TEST_P(CaeParity, LossesAgree) {
  auto [total, found] = model_->losses(images_, plan_);
  found["total"] = total;
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

void CaeParity::ten_steps(const std::string& rule) {
  SCOPED_TRACE(rule);
  build(rule);
  const Json& hyper = golden_->json().at("hyper");
  const NamedTensors parameters = model_->parameters();
  AdamW optimizer(parameters, {.weight_decay = hyper.at("weight_decay"),
                               .beta1 = hyper.at("betas")[0],
                               .beta2 = hyper.at("betas")[1],
                               .eps = hyper.at("eps"),
                               .clip = hyper.at("clip_grad")});
  const std::string prefix = "steps." + rule + ".";
  std::map<std::string, at::Tensor> curves;
  for (const char* name : {"loss", "loss_main", "loss_align", "grad_norm"}) curves[name] = golden_->at(prefix + name);
  const int64_t probes = golden_->at(prefix + "param_probe").size(0), steps = curves["loss"].numel();
  ASSERT_EQ(steps, 10);
  ASSERT_EQ(probes, rule == "alias" ? steps : 1);
  for (int64_t k = 0; k < steps; ++k) {
    optimizer.zero_grad();
    const auto [total, terms] = model_->losses(images_, plan_);
    total.backward();
    model_->before_update();
    const double align = is_v2() ? 0.0 : 2 * terms.at("mse").item<double>();
    const std::map<std::string, double> found = {
        {"loss", total.item<double>()},
        {"loss_main", is_v2() ? total.item<double>() : terms.at("ce").item<double>()},
        {"loss_align", align},
        {"grad_norm", optimizer.step(hyper.at("lr")).item<double>()}};
    model_->after_step();
    for (const auto& [name, value] : found) {
      const double wanted = curves[name][k].item<double>();
      if (wanted == 0) {  // CAE v2's alignment
        EXPECT_EQ(value, 0) << name;
        continue;
      }
      ledger_.expect_relative(text("steps: ", name == "grad_norm" ? "gradient norm" : "losses", ", relative"),
                              text(rule, " ", name, " ", k), value, wanted, limits().step_relative);
    }
    if (k + probes < steps) continue;
    for (const auto& [name, parameter] : parameters) {
      const std::string& key = model_->official(name);
      const at::Tensor row = golden_->row(prefix + "param_probe", "param_probe_rows", key);
      ASSERT_TRUE(row.defined()) << key;
      const auto mine = probe(key, parameter);
      for (int64_t i = 0; i < 3; ++i)
        ledger_.expect("steps: weights' probes", text(rule, " ", key, "[", i, "] after step ", k),
                       std::abs(mine[static_cast<size_t>(i)] - row[probes == 1 ? 0 : k][i].item<double>()),
                       limits().parameter_probe);
    }
  }
  EXPECT_EQ(optimizer.skipped().item<float>(), 0);
}

TEST_P(CaeParity, TenOptimizerStepsAgreeUnderEveryRuleOfTheTarget) {
  for (const std::string& rule : rules()) {
    ten_steps(rule);
    if (rule != "alias") continue;
    std::map<std::string, at::Tensor> final;
    for (const auto& [name, parameter] : model_->parameters()) {
      const bool stored =
          std::count(golden_->keys().begin(), golden_->keys().end(), "steps.alias.final." + model_->official(name)) > 0;
      EXPECT_EQ(stored, parameter.dim() == 1 || name.ends_with("_token")) << name;
      if (stored) final[model_->official(name)] = parameter;
    }
    expect_all("steps.alias.final.", final, limits().parameter_probe);
  }
}

TEST_P(CaeParity, EveryKindOfStoredTensorIsKnown) {
  for (const std::string& key : golden_->keys()) {
    bool known = key == "gradprobe";
    for (const char* prefix : {"act.", "grad.", "input.", "loss.", "output.", "weight.", "steps.alias.final."})
      known = known || key.starts_with(prefix);
    for (const std::string& rule : rules()) {
      for (const char* name : kStepTensors) known = known || key == text("steps.", rule, ".", name);
    }
    EXPECT_TRUE(known) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, CaeParity,
                         ::testing::Values(Variant{"cae_micro", at::kDouble}, Variant{"cae_micro", at::kFloat},
                                           Variant{"caev2_micro", at::kDouble}, Variant{"caev2_micro", at::kFloat},
                                           Variant{"caev2_adapter_micro", at::kDouble},
                                           Variant{"caev2_adapter_micro", at::kFloat}),
                         [](const auto& each) {
                           return each.param.name + (each.param.dtype == at::kDouble ? "_f64" : "_f32");
                         });

// The stored weights are the rule's values rounded to float32; these figures are for the rule itself, and so need no
// file.
class FillRule : public ::testing::TestWithParam<std::string> {};

CaeModel model_by_rule(const CaeSizes& s) {
  if (s.is_v2()) return {s, unit_tensor("clip_target", {s.batch, 1 + s.patches(), s.target})};
  return {s, filled_classes(s.batch, s.patches(), s.masked, s.target), target_rule("alias")};
}

TEST_P(FillRule, AloneGivesTheReferencesCurve) {
  LACUNA_NEEDS_SHARED("golden/cae/" + GetParam() + ".json");
  CaeGolden golden(GetParam());
  const CaeSizes sizes = CaeSizes::of(golden.json().at("case"));
  CaeModel model = model_by_rule(sizes);
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
    auto [total, terms] = model.losses(images, plan);
    total.backward();
    if (k == 0) {
      terms["total"] = total;
      ASSERT_EQ(terms.size(), stored.at("loss").size());
      for (const auto& [name, value] : terms)
        ledger.expect_relative("loss, relative", name, value.item<double>(), stored.at("loss").at(name), 1e-11);
      const auto norms = model.gradient_norms();
      for (const auto& [part, norm] : stored.at("grad_norm").items())
        ledger.expect_relative("gradient norms by part, relative", part, norms.at(part), norm, 1e-10);
    }
    const Json& steps = stored.at("steps_alias");
    ledger.expect_relative("steps: loss, relative", text(k), total.item<double>(), steps.at("loss")[k], 1e-10);
    ledger.expect_relative("steps: gradient norm, relative", text(k), optimizer.step(1.5e-3).item<double>(),
                           steps.at("grad_norm")[k], 1e-10);
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, FillRule, ::testing::Values("cae_micro", "caev2_micro", "caev2_adapter_micro"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace lacuna
