// Stochastic depth with recorded patterns: every branch asks, at its own rate, and what it drops has its effect.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/cae_model.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// Answers from the recorded sites, which are in our call order by now.
class ReplayedDrop : public PathDrop {
 public:
  explicit ReplayedDrop(std::vector<Json> sites) : sites_(std::move(sites)) {}

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
  std::vector<Json> sites_;
  size_t next_ = 0;
};

// Objectives come after the student and in the order of their list: the decoder is the head of CAE's first one, the
// target encoder the teacher of its second one. The official code runs the target encoder before the regressor.
const std::vector<std::string> kOurOrder = {"encoder.blocks.1", "regresser.regressor_blocks.1",
                                            "decoder.decoder_blocks.1", "alignment_encoder.blocks.1"};

std::vector<Json> in_our_order(const Json& sites) {
  std::vector<Json> out;
  for (const std::string& block : kOurOrder) {
    for (const char* branch : {".drop_path.attn", ".drop_path.mlp"}) {  // attention before MLP
      for (const Json& site : sites) {
        if (site.at("site") == block + branch) out.push_back(site);
      }
    }
  }
  return out;
}

class DropPathReplay : public ::testing::TestWithParam<std::string> {
 protected:
  CaeModel build(CaeGolden& golden, const CaeSizes& sizes) const {
    if (sizes.is_v2()) return {sizes, golden.input("input.teacher_features").to(at::kDouble)};
    return {sizes, golden.at("input.token_ids").flatten(1), target_rule("alias")};
  }
};

TEST_P(DropPathReplay, LossesAndGradientsAgreeAndEveryDrawIsUsed) {
  LACUNA_NEEDS_SHARED("golden/cae/droppath.json");
  const Json stored = golden_json("cae/droppath.json").at("cases").at(GetParam());
  CaeGolden golden(GetParam());
  CaeSizes sizes = CaeSizes::of(golden.json().at("case"));
  sizes.drop_path = stored.at("drop_path");
  CaeModel model = build(golden, sizes);
  model.module().to(at::kDouble);
  model.fill([&](const std::string& key, at::IntArrayRef) { return golden.weight(key); });
  const at::Tensor images = golden.input("input.image").to(at::kDouble);
  const MaskPlan plan = plan_from_masks(filled_masks(sizes.batch, sizes.patches(), sizes.masked), at::kCPU);

  const std::vector<Json> sites = in_our_order(stored.at("sites"));
  ASSERT_EQ(sites.size(), stored.at("sites").size()) << "the first block of a stack never draws";
  ASSERT_EQ(sites.size(), sizes.is_v2() ? 4u : 8u);
  Ledger ledger;
  ReplayedDrop drop(sites);
  const auto [total, terms] = model.losses(images, plan, &drop);
  EXPECT_EQ(drop.unused(), 0u);
  ledger.expect("loss", "total", std::abs(total.item<double>() - stored.at("loss").at("total").get<double>()), 1e-11);
  ASSERT_EQ(terms.size() + 1, stored.at("loss").size());
  for (const auto& [name, value] : terms)
    ledger.expect("loss", name, std::abs(value.item<double>() - stored.at("loss").at(name).get<double>()), 1e-11);
  total.backward();
  const auto norms = model.gradient_norms();
  for (const auto& [part, norm] : stored.at("grad_norm").items())
    ledger.expect_relative("gradient norms, relative", part, norms.at(part), norm, 1e-10);

  ReplayedDrop again(sites);
  const Batch batch = batch_of(images);
  const StepContext context;
  Step step{
      .batch = batch, .context = context, .passes = {{.plan = plan, .encoded = model.look(images, plan, &again)}}};
  step.drop = &again;
  const Tokens& tokens = step.passes[0].encoded.tokens;
  const at::Tensor raw = model.objective().predict(tokens, plan, &again);
  std::map<std::string, at::Tensor> found;
  if (sizes.is_v2()) {
    found["prediction"] = normalize(raw, NormalizeConfig{.kind = NormalizeKind::kUnit});
    found["latent_predict"] = model.head().named_children()["norm"]->as<LayerNormImpl>()->forward(tokens.masked);
  } else {
    found["prediction"] = raw;
    found["latent_predict"] = tokens.masked;
    found["latent_target"] = model.objective(1).targets(step, 0, plan, /*remember=*/false).masked;
  }
  EXPECT_EQ(again.unused(), 0u);
  size_t probed = 0;
  for (const auto& [key, wanted] : stored.items()) {
    if (!key.ends_with("_probe") || wanted.is_null()) continue;  // CAE v2 has no target latents
    ++probed;
    const std::string name = key.substr(0, key.size() - 6);
    const auto mine = probe(name, found.at(name));
    for (size_t i = 0; i < 3; ++i)
      ledger.expect("probes", text(name, "[", i, "]"), std::abs(mine[i] - wanted.at(i).get<double>()), 1e-9);
  }
  EXPECT_EQ(probed, found.size());
}

INSTANTIATE_TEST_SUITE_P(Micro, DropPathReplay, ::testing::Values("cae_micro", "caev2_micro", "caev2_adapter_micro"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace lacuna
