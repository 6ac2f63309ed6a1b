// Stochastic depth with recorded patterns: the branches ask in the official order, and what they drop has its effect.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/cae_model.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

class ReplayedDrop : public PathDrop {
 public:
  explicit ReplayedDrop(const Json& sites) : sites_(sites) {}

  std::vector<double> factors(double rate, int64_t batch) override {
    const Json& site = sites_.at(next_++);
    const double stored = site.at("drop_prob");  // the reference keeps its rates in float32
    EXPECT_NEAR(rate, stored, 1e-7) << site.at("site");
    EXPECT_EQ(batch, static_cast<int64_t>(site.at("keep").size()));
    std::vector<double> out;
    for (const int keep : site.at("keep")) out.push_back(keep / (1.0 - stored));
    return out;
  }
  size_t unused() const { return sites_.size() - next_; }

 private:
  Json sites_;
  size_t next_ = 0;
};

class DropPathReplay : public ::testing::TestWithParam<std::string> {};

TEST_P(DropPathReplay, LossesAndGradientsAgreeAndEveryDrawIsUsed) {
  LACUNA_NEEDS_SHARED("golden/cae/droppath.json");
  const Json stored = golden_json("cae/droppath.json").at("cases").at(GetParam());
  CaeGolden golden(GetParam());
  CaeSizes sizes = CaeSizes::of(golden.json().at("case"));
  sizes.drop_path = stored.at("drop_path");
  CaeModel model(sizes, golden.input("input.teacher_features").to(at::kDouble));
  model.module().to(at::kDouble);
  model.fill([&](const std::string& key, at::IntArrayRef) { return golden.weight(key); });
  const at::Tensor images = golden.input("input.image").to(at::kDouble);
  const MaskPlan plan = plan_from_masks(filled_masks(sizes.batch, sizes.patches(), sizes.masked), at::kCPU);

  // The sites stand in call order, encoder before regressor, attention before MLP, and the first block never draws.
  std::vector<std::string> order;
  for (const Json& site : stored.at("sites")) order.push_back(site.at("site"));
  EXPECT_EQ(order, (std::vector<std::string>{"encoder.blocks.1.drop_path.attn", "encoder.blocks.1.drop_path.mlp",
                                             "regresser.regressor_blocks.1.drop_path.attn",
                                             "regresser.regressor_blocks.1.drop_path.mlp"}));
  Ledger ledger;
  ReplayedDrop drop(stored.at("sites"));
  const ObjectiveLosses losses = model.losses(images, plan, &drop);
  EXPECT_EQ(drop.unused(), 0u);
  ledger.expect("loss", "total", std::abs(losses.total.item<double>() - stored.at("loss").at("total").get<double>()),
                1e-11);
  for (const auto& [name, value] : losses.terms)
    ledger.expect("loss", name, std::abs(value.item<double>() - stored.at("loss").at(name).get<double>()), 1e-11);
  losses.total.backward();
  const auto norms = model.gradient_norms();
  for (const auto& [part, norm] : stored.at("grad_norm").items())
    ledger.expect_relative("gradient norms, relative", part, norms.at(part), norm, 1e-10);

  ReplayedDrop again(stored.at("sites"));
  const Tokens tokens = model.encode(images, plan, &again);
  const at::Tensor prediction = normalize(model.head().forward(tokens.join(kAllRegions)), NormalizeKind::kUnit);
  const at::Tensor latents = model.head().named_children()["norm"]->as<LayerNormImpl>()->forward(tokens.masked);
  const auto expect_probe = [&](const char* name, const at::Tensor& found) {
    const auto mine = probe(name, found);
    for (size_t i = 0; i < 3; ++i)
      ledger.expect("probes", text(name, "[", i, "]"),
                    std::abs(mine[i] - stored.at(text(name, "_probe")).at(i).get<double>()), 1e-9);
  };
  expect_probe("latent_predict", latents);
  expect_probe("prediction", prediction);
}

INSTANTIATE_TEST_SUITE_P(Micro, DropPathReplay, ::testing::Values("caev2_micro", "caev2_adapter_micro"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace lacuna
