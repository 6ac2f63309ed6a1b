// AdamW against its formulas, and what it must do when a gradient is not finite, absent, or large.

#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

struct Toy {
  explicit Toy(at::ScalarType dtype = at::kDouble) {
    for (const auto& [name, sizes] :
         std::vector<std::pair<std::string, std::vector<int64_t>>>{{"fc.weight", {3, 4}},
                                                                   {"fc.bias", {3}},
                                                                   {"cls_token", {1, 1, 4}},
                                                                   {"gamma", {4}},
                                                                   {"unused.weight", {2, 2}}}) {
      parameters.emplace_back(name, unit_tensor(name, sizes).to(dtype).set_requires_grad(true));
    }
  }
  // Gradients of every parameter but the last, depending on `round`.
  void set_gradients(int round, double scale = 1) {
    for (size_t i = 0; i + 1 < parameters.size(); ++i) {
      const auto& [name, p] = parameters[i];
      p.mutable_grad() = (scale * unit_tensor(text(name, round), p.sizes())).to(p.scalar_type());
    }
  }
  std::vector<at::Tensor> copies() const {
    std::vector<at::Tensor> out;
    for (const auto& [name, p] : parameters) out.push_back(p.detach().clone());
    return out;
  }
  NamedTensors parameters;
};

void expect_same_bits(const Toy& a, const Toy& b) {
  for (size_t i = 0; i < a.parameters.size(); ++i)
    EXPECT_TRUE(a.parameters[i].second.equal(b.parameters[i].second)) << a.parameters[i].first;
}

TEST(AdamW, FollowsTheFormulasWithDecayOnlyWhereItBelongs) {
  const AdamWConfig config{.weight_decay = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .clip = 0};
  Toy toy;
  AdamW optimizer(toy.parameters, config);
  std::vector<at::Tensor> wanted = toy.copies(), m, v;
  for (const at::Tensor& p : wanted) m.push_back(at::zeros_like(p)), v.push_back(at::zeros_like(p));
  const double lr = 0.01;
  for (int step = 1; step <= 4; ++step) {
    toy.set_gradients(step);
    optimizer.step(lr);
    for (size_t i = 0; i + 1 < wanted.size(); ++i) {
      const at::Tensor g = toy.parameters[i].second.grad();
      const bool decayed = toy.parameters[i].first == "fc.weight" || toy.parameters[i].first == "cls_token";
      if (decayed) wanted[i] = wanted[i] * (1 - lr * config.weight_decay);
      m[i] = config.beta1 * m[i] + (1 - config.beta1) * g;
      v[i] = config.beta2 * v[i] + (1 - config.beta2) * g * g;
      const at::Tensor mean = m[i] / (1 - std::pow(config.beta1, step)),
                       square = v[i] / (1 - std::pow(config.beta2, step));
      wanted[i] = wanted[i] - lr * mean / (square.sqrt() + config.eps);
      EXPECT_LT(deviation(toy.parameters[i].second, wanted[i]), 1e-14) << toy.parameters[i].first << " step " << step;
    }
  }
}

TEST(AdamW, LeavesAParameterWithoutGradientAloneAndGivesItNoState) {
  Toy toy;
  const at::Tensor before = toy.parameters.back().second.detach().clone();
  AdamW optimizer(toy.parameters, {});
  toy.set_gradients(0);
  optimizer.step(0.1);
  EXPECT_TRUE(toy.parameters.back().second.equal(before));
  EXPECT_EQ(find(optimizer.state(), "unused.weight.step"), nullptr);
  EXPECT_EQ(optimizer.state().size(), 3 * (toy.parameters.size() - 1));
}

TEST(AdamW, LeavesAFrozenParameterOut) {
  Toy toy;
  toy.parameters[0].second.set_requires_grad(false);
  const AdamW optimizer(toy.parameters, {});
  EXPECT_EQ(optimizer.decayed(), (std::vector<std::string>{"cls_token", "unused.weight"}));
  EXPECT_EQ(optimizer.undecayed(), (std::vector<std::string>{"fc.bias", "gamma"}));
}

TEST(AdamW, ClipsToTheGlobalNormAndReportsTheNormBefore) {
  Toy toy;
  AdamW optimizer(toy.parameters, {.clip = 3.0});
  toy.set_gradients(0, 100);
  double squares = 0;
  for (size_t i = 0; i + 1 < toy.parameters.size(); ++i)
    squares += toy.parameters[i].second.grad().square().sum().item<double>();
  const at::Tensor before = toy.parameters[0].second.grad().clone();
  EXPECT_NEAR(optimizer.step(0.1).item<double>(), std::sqrt(squares), 1e-10);
  EXPECT_LT(deviation(toy.parameters[0].second.grad(), before * (3.0 / (std::sqrt(squares) + 1e-6))), 1e-12);

  toy.set_gradients(1, 0.01);  // below the limit: untouched
  const at::Tensor small = toy.parameters[0].second.grad().clone();
  optimizer.step(0.1);
  EXPECT_TRUE(toy.parameters[0].second.grad().equal(small));
}

TEST(AdamW, ClipsEachTensorByItsOwnNormWhenAsked) {
  Toy toy;
  AdamW optimizer(toy.parameters, {.clip = 0.5, .clip_scope = ClipScope::kTensor});
  toy.set_gradients(0);
  toy.parameters[1].second.mutable_grad().mul_(0.01);  // below the limit
  std::vector<at::Tensor> before;
  double squares = 0;
  for (size_t i = 0; i + 1 < toy.parameters.size(); ++i) {
    before.push_back(toy.parameters[i].second.grad().clone());
    squares += before.back().square().sum().item<double>();
  }
  EXPECT_NEAR(optimizer.step(0.1).item<double>(), std::sqrt(squares), 1e-12) << "the global norm, before clipping";
  for (size_t i = 0; i < before.size(); ++i) {
    const double norm = before[i].norm().item<double>();
    EXPECT_EQ(norm > 0.5, i != 1);
    EXPECT_LT(deviation(toy.parameters[i].second.grad(), before[i] * std::min(1.0, 0.5 / (norm + 1e-6))), 1e-15);
  }
}

TEST(AdamW, TheStepsWeightDecayWinsOverTheConfigurations) {
  Toy given, fixed;
  AdamW optimizer(given.parameters, {.weight_decay = 0.3}), reference(fixed.parameters, {.weight_decay = 0.7});
  given.set_gradients(0);
  fixed.set_gradients(0);
  optimizer.step(0.1, 0.7);
  reference.step(0.1);
  expect_same_bits(given, fixed);
}

TEST(AdamW, NamedParametersAreNotDecayed) {
  const Toy toy;
  const AdamW optimizer(toy.parameters, {.no_decay = {"cls_token", "weight"}});
  EXPECT_EQ(optimizer.decayed(), std::vector<std::string>{});
  const at::Tensor matrix = at::zeros({2, 2});
  EXPECT_FALSE(is_decayed("vit.pos_embed", matrix, {"pos_embed"}));
  EXPECT_FALSE(is_decayed("a.head.weight", matrix, {"head.weight"}));
  EXPECT_TRUE(is_decayed("vit.my_pos_embed", matrix, {"pos_embed"})) << "whole components";
  EXPECT_TRUE(is_decayed("pos_embed.weight", matrix, {"pos_embed"})) << "at the end of the name";
}

TEST(AdamW, AFactorOfTheRateIsThatRate) {
  const auto half = [](const std::string& name) { return name == "fc.weight" || name == "gamma" ? 0.5 : 1.0; };
  Toy scaled, slow, fast;
  AdamW optimizer(scaled.parameters, {}, half), at_half(slow.parameters, {}), at_one(fast.parameters, {});
  ASSERT_EQ(optimizer.groups().size(), 4u);
  EXPECT_EQ(optimizer.groups()[0].names, std::vector<std::string>{"fc.weight"});
  EXPECT_EQ(optimizer.groups()[1].names, (std::vector<std::string>{"cls_token", "unused.weight"}));
  EXPECT_EQ(optimizer.groups()[2].names, std::vector<std::string>{"fc.bias"});
  EXPECT_EQ(optimizer.groups()[3].lr_scale, 0.5);
  for (int round = 0; round < 3; ++round) {
    for (Toy* toy : {&scaled, &slow, &fast}) toy->set_gradients(round);
    optimizer.step(0.1);
    at_half.step(0.05);
    at_one.step(0.1);
  }
  for (size_t i = 0; i < scaled.parameters.size(); ++i) {
    const Toy& wanted = half(scaled.parameters[i].first) == 0.5 ? slow : fast;
    EXPECT_TRUE(scaled.parameters[i].second.equal(wanted.parameters[i].second)) << scaled.parameters[i].first;
  }
}

TEST(AdamW, AParameterWithoutGradientInTheFirstStepsStartsWhenItHasOne) {
  Toy late, fresh;
  AdamW optimizer(late.parameters, {}), reference(fresh.parameters, {});
  const at::Tensor before = late.parameters[0].second.detach().clone();
  for (int round = 0; round < 2; ++round) {
    late.set_gradients(round);
    late.parameters[0].second.mutable_grad().reset();
    optimizer.step(0.1);
  }
  EXPECT_TRUE(late.parameters[0].second.equal(before)) << "not even decayed";
  EXPECT_EQ(find(optimizer.state(), "fc.weight.step"), nullptr);
  late.set_gradients(2);
  fresh.set_gradients(2);
  optimizer.step(0.1);
  reference.step(0.1);
  EXPECT_EQ(find(optimizer.state(), "fc.weight.step")->item<float>(), 1);
  EXPECT_TRUE(late.parameters[0].second.equal(fresh.parameters[0].second)) << "its own count of steps";
}

// ---- Stored steps ----------------------------------------------------------------------------------------------

NamedTensors one_parameter(const std::string& name, const at::Tensor& value) {
  return {{name, value.to(at::kDouble).clone().set_requires_grad(true)}};
}

TEST(StoredAdamW, FourStepsAgree) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/elementary.json");
  const Json stored = golden_json("unified/tables/elementary.json").at("optimiser");
  Ledger ledger;
  const std::map<std::string, AdamWConfig> configs = {
      {"adamw_betas.9,.98_eps1e-8", {.beta2 = 0.98, .eps = 1e-8, .clip = 0}},
      {"adamw_betas.9,.999_eps1e-6", {.beta2 = 0.999, .eps = 1e-6, .clip = 0}}};
  ASSERT_EQ(stored.size(), configs.size() + 1) << "and the clipping below";
  for (const auto& [name, config] : configs) {
    const Json& table = stored.at(name);
    ASSERT_EQ(table.at("weight_decay"), config.weight_decay);
    ASSERT_EQ(table.at("gradient"), "[.1, -.2, 0, 1e-9] * (k + 1) * (-1)^k, k = 0..3");
    // Two dimensions, for it to be decayed.
    const auto parameters = one_parameter("w", at::tensor(table.at("start").get<std::vector<double>>()).view({1, 4}));
    AdamW optimizer(parameters, config);
    ASSERT_EQ(table.at("after_each_step").size(), 4u);
    for (int k = 0; k < 4; ++k) {
      // The reference rounded these four numbers to float32: with 1e-9 itself, PyTorch's own AdamW is off by 2.5e-11.
      const at::Tensor gradient = at::tensor({0.1, -0.2, 0.0, 1e-9}, at::kFloat).to(at::kDouble).view({1, 4});
      parameters[0].second.mutable_grad() = gradient * (k + 1) * (k % 2 == 0 ? 1 : -1);
      optimizer.step(table.at("lr"));
      const auto wanted = table.at("after_each_step")[static_cast<size_t>(k)].get<std::vector<double>>();
      ledger.expect_close("parameters", text(name, " step ", k), parameters[0].second, at::tensor(wanted).view({1, 4}),
                          1e-14);
    }
  }
}

TEST(StoredAdamW, ClippingAgrees) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/elementary.json");
  const Json table = golden_json("unified/tables/elementary.json").at("optimiser").at("clip");
  for (const ClipScope scope : {ClipScope::kGlobal, ClipScope::kTensor}) {
    const auto parameters = one_parameter("w", at::zeros({2}));
    AdamW optimizer(parameters, {.clip = table.at("limit"), .clip_scope = scope});
    parameters[0].second.mutable_grad() = at::tensor(table.at("gradient").get<std::vector<double>>());
    optimizer.step(0);
    EXPECT_LT(deviation(parameters[0].second.grad(), at::tensor(table.at("clipped").get<std::vector<double>>())),
              1e-15);
  }
}

// One step of the MaskCLIP reference from its stored weights and gradients, no model needed.
TEST(StoredAdamW, TheStepOfTheMaskClipReferenceAgrees) {
  LACUNA_NEEDS_SHARED("golden/maskclip/micro_after_step.safetensors");
  const TensorFile weights(golden_path("maskclip/micro_weights.safetensors"));
  const TensorFile gradients(golden_path("maskclip/micro_grads.safetensors"));
  const TensorFile after(golden_path("maskclip/micro_after_step.safetensors"));
  const Json hyper = golden_json("maskclip/micro_step.json").at("single_step_hyper_parameters");
  ASSERT_EQ(hyper.at("clip_per_tensor"), 0.0);
  NamedTensors parameters;
  for (const std::string& key : gradients.names()) {
    const std::string name = key.substr(std::string("grad.").size());
    parameters.emplace_back(name, to_tensor(weights.at("weight." + name)).to(at::kDouble).set_requires_grad(true));
    parameters.back().second.mutable_grad() = to_tensor(gradients.at(key)).clone();
  }
  ASSERT_EQ(parameters.size(), 23u);
  AdamW optimizer(parameters, {.weight_decay = hyper.at("wd"),
                               .beta1 = hyper.at("betas")[0],
                               .beta2 = hyper.at("betas")[1],
                               .eps = hyper.at("eps"),
                               .clip = 0});
  optimizer.step(hyper.at("lr"));
  const NamedTensors state = optimizer.state();
  Ledger ledger;
  for (const std::string& key : after.names()) {
    const at::Tensor wanted = to_tensor(after.at(key));
    if (key.starts_with("teacher.") || key == "center") continue;  // of the averaged teacher: no optimizer's business
    if (key.starts_with("student.")) {
      const std::string name = key.substr(std::string("student.").size());
      at::Tensor found = find(parameters, name)->detach(), expected = wanted;
      if (name.ends_with("attn.qkv.bias"))  // the key's part has a gradient of rounding noise, which Adam magnifies
        found = at::cat({found.slice(0, 0, 48), found.slice(0, 96)}),
        expected = at::cat({wanted.slice(0, 0, 48), wanted.slice(0, 96)});
      ledger.expect_close("parameters", name, found, expected, 1e-12);
    } else {
      ASSERT_TRUE(key.starts_with("adamw.")) << key;
      const size_t dot = key.find('.', std::string("adamw.").size());
      const std::string name = key.substr(dot + 1) + "." + key.substr(6, dot - 6);
      ASSERT_NE(find(state, name), nullptr) << name;
      ledger.expect_close("moments", name, *find(state, name), wanted, 1e-14);
    }
  }
}

class NotFinite : public ::testing::TestWithParam<double> {};

TEST_P(NotFinite, AStepWithSuchAGradientMovesNothingIsCountedAndTheNextOneWorks) {
  Toy hurt, clean;
  AdamW optimizer(hurt.parameters, {}), reference(clean.parameters, {});
  for (int round : {0, 1}) {
    hurt.set_gradients(round);
    clean.set_gradients(round);
    optimizer.step(0.1);
    reference.step(0.1);
  }
  hurt.set_gradients(2);
  hurt.parameters[1].second.mutable_grad().flatten()[0].fill_(GetParam());
  EXPECT_FALSE(std::isfinite(optimizer.step(0.1).item<double>()));
  EXPECT_EQ(optimizer.skipped().item<float>(), 1);
  expect_same_bits(hurt, clean);
  const NamedTensors state = optimizer.state(), wanted = reference.state();
  ASSERT_EQ(state.size(), wanted.size());
  for (size_t i = 0; i < state.size(); ++i) EXPECT_TRUE(state[i].second.equal(wanted[i].second)) << state[i].first;

  hurt.set_gradients(3);
  clean.set_gradients(3);
  optimizer.step(0.1);
  reference.step(0.1);
  expect_same_bits(hurt, clean);
  EXPECT_EQ(optimizer.skipped().item<float>(), 1);
}

TEST_P(NotFinite, AFirstStepWithSuchAGradientMovesNothing) {
  Toy hurt, clean;
  AdamW optimizer(hurt.parameters, {}), reference(clean.parameters, {});
  hurt.set_gradients(0);
  hurt.parameters[0].second.mutable_grad().flatten()[5].fill_(GetParam());
  optimizer.step(0.1);
  expect_same_bits(hurt, clean);
  hurt.set_gradients(1);
  clean.set_gradients(1);
  optimizer.step(0.1);
  reference.step(0.1);
  expect_same_bits(hurt, clean);
}

INSTANTIATE_TEST_SUITE_P(Values, NotFinite,
                         ::testing::Values(std::numeric_limits<double>::quiet_NaN(),
                                           std::numeric_limits<double>::infinity(),
                                           -std::numeric_limits<double>::infinity()));

TEST(AdamW, ContinuesBitForBitFromItsSavedState) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    Toy whole(dtype), resumed(dtype);
    AdamW optimizer(whole.parameters, {});
    for (int round = 0; round < 3; ++round) {
      whole.set_gradients(round);
      optimizer.step(0.01);
    }
    NamedTensors saved;
    for (const auto& [name, tensor] : optimizer.state()) saved.emplace_back(name, tensor.clone());
    for (size_t i = 0; i < whole.parameters.size(); ++i)
      resumed.parameters[i].second.detach().copy_(whole.parameters[i].second.detach());
    AdamW second(resumed.parameters, {});
    second.load_state(saved);
    for (int round = 3; round < 6; ++round) {
      whole.set_gradients(round);
      resumed.set_gradients(round);
      optimizer.step(0.01);
      second.step(0.01);
    }
    expect_same_bits(whole, resumed);
  }
}

TEST(AdamW, RefusesAStateThatIsNotThisModels) {
  Toy toy;
  AdamW optimizer(toy.parameters, {});
  toy.set_gradients(0);
  optimizer.step(0.01);
  const auto message = [&](NamedTensors state) -> std::string {
    try {
      AdamW(toy.parameters, {}).load_state(state);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message(optimizer.state()), "accepted");
  NamedTensors state = optimizer.state();
  state.emplace_back("other.exp_avg", at::zeros({2}));
  EXPECT_EQ(message(state), "checkpoint: 1 optimizer tensors belong to no parameter of this model");
  state = optimizer.state();
  state[0].second = at::zeros({3, 5});
  EXPECT_EQ(message(state),
            "checkpoint: the optimizer state of 'fc.weight' is incomplete or has another shape than [3,4]");
  state = optimizer.state();
  state.erase(state.begin() + 1);
  EXPECT_EQ(message(state),
            "checkpoint: the optimizer state of 'fc.weight' is incomplete or has another shape than [3,4]");
}

}  // namespace
}  // namespace lacuna
