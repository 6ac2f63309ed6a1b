// MaskCLIP against golden/maskclip: losses and the gradient of every parameter in one step of every variant, in float64
// and float32.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "support/maskclip_model.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using namespace testing;            // NOLINT
using namespace testing::maskclip;  // NOLINT

class MaskClipVariant : public ::testing::TestWithParam<MaskClipCase> {
 protected:
  void SetUp() override { LACUNA_NEEDS_SHARED("golden/maskclip/micro_step.json"); }
};

TEST_P(MaskClipVariant, LossesAndTheGradientOfEveryParameterAgree) {
  const auto& [name, dtype] = GetParam();
  const MaskClipLimits& limits = limits_of(dtype);
  const Json& wanted = step_json().at("variants").at(name);
  MaskClipStep step(name, dtype);
  const MaskClipLosses losses = step.model.losses(step.inputs, step.context);
  losses.total.backward();
  Ledger ledger;
  EXPECT_EQ(losses.terms.size(), wanted.at("loss").size());
  for (const auto& [term, value] : wanted.at("loss").items())
    ledger.expect("losses", term, std::abs(losses.terms.at(term).item<double>() - value.get<double>()), limits.loss);
  const bool is_double = dtype == at::kDouble;
  ledger.expect_relative("norm of the gradient", name, global_norm(step.model), wanted.at("grad_norm_total"),
                         limits.gradient);
  expect_checksums(ledger, "gradients' checksums", step.model.exported_gradients(), wanted.at("grad"), limits.gradient,
                   !is_double, /*moved=*/!is_double);
}

TEST_P(MaskClipVariant, DecaysTheParametersThatTheReferenceDoes) {
  MaskClipModel model(config_of(GetParam().name), step_json().at("single_step_hyper_parameters"), GetParam().dtype);
  const auto decayed = step_json().at("decayed_parameters").get<std::set<std::string>>();
  const auto not_decayed = step_json().at("not_decayed_parameters").get<std::set<std::string>>();
  const AdamW optimizer(model.parameters(), {});
  std::map<std::string, bool> ours;
  for (const std::string& name : optimizer.decayed()) ours[name] = true;
  for (const std::string& name : optimizer.undecayed()) ours[name] = false;
  size_t compared = 0;
  for (const KeyRule& rule : maskclip_names(model.config, "").rules) {
    const auto found = ours.find(rule.ours[0]);
    if (found == ours.end()) continue;
    ++compared;
    const std::string& name = rule.theirs[0];
    if (!decayed.contains(name) && !not_decayed.contains(name)) {  // of a variant; the rule by itself
      EXPECT_EQ(found->second, name.ends_with("weight")) << name;
      continue;
    }
    EXPECT_EQ(found->second, decayed.contains(name)) << name;
  }
  EXPECT_EQ(compared, ours.size());
}

INSTANTIATE_TEST_SUITE_P(Micro, MaskClipVariant, ::testing::ValuesIn(maskclip_variants()),
                         [](const auto& each) { return each.param.name + "_" + name_of(each.param.dtype); });

TEST(MaskClipVariants, AreAllThatAreStored) {
  LACUNA_NEEDS_SHARED("golden/maskclip/micro_step.json");
  std::set<std::string> ours, theirs;
  for (const MaskClipCase& variant : maskclip_variants()) ours.insert(variant.name);
  for (const auto& [name, value] : step_json().at("variants").items()) theirs.insert(name);
  EXPECT_EQ(ours, theirs);
}

}  // namespace
}  // namespace lacuna
