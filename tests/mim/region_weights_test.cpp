// Losses and gradients for other weights of the regions and other reductions than the official ones.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "support/cae_model.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr std::pair<const char*, Reduction> kModes[] = {{"token_mean", Reduction::kTokenMean},
                                                        {"fixed_denominator", Reduction::kFixedDenominator},
                                                        {"sum_of_region_means", Reduction::kRegionMeans}};

class RegionWeights : public ::testing::TestWithParam<std::string> {};

TEST_P(RegionWeights, LossesAndGradientsAgreeForEverySetAndReduction) {
  LACUNA_NEEDS_SHARED("golden/cae/cae_region_weights.json");
  CaeGolden golden(GetParam());
  const CaeSizes sizes = CaeSizes::of(golden.json().at("case"));
  const at::Tensor images = golden.input("input.image").to(at::kDouble);
  const MaskPlan plan = plan_from_masks(filled_masks(sizes.batch, sizes.patches(), sizes.masked), at::kCPU);
  const Json sets = golden_json("cae/cae_region_weights.json").at("results").at(GetParam());
  ASSERT_EQ(sets.size(), 6u);
  Ledger ledger;
  for (const auto& [set, stored] : sets.items()) {
    const Json& w = stored.at("weights");
    ASSERT_EQ(stored.size(), 1 + std::size(kModes)) << set;
    for (const auto& [mode, reduction] : kModes) {
      CaeModel model(sizes, golden.input("input.teacher_features").to(at::kDouble),
                     {.cls = w.at("cls"), .visible = w.at("visible"), .masked = w.at("masked")}, reduction);
      model.module().to(at::kDouble);
      model.fill([&](const std::string& key, at::IntArrayRef) { return golden.weight(key); });
      const at::Tensor loss = model.losses(images, plan).total;
      loss.backward();
      const std::string what = set + " " + mode;
      ledger.expect("loss", what, std::abs(loss.item<double>() - stored.at(mode).at("loss").get<double>()), 1e-11);
      const auto norms = model.gradient_norms();
      for (const auto& [part, norm] : stored.at(mode).at("grad_norm").items())
        ledger.expect("gradient norms", what + " " + part, std::abs(norms.at(part) - norm.get<double>()), 1e-10);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, RegionWeights, ::testing::Values("caev2_micro", "caev2_adapter_micro"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace lacuna
