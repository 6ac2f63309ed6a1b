// AdamW against its formulas, and what it must do when a gradient is not finite, absent, or large.

#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
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
