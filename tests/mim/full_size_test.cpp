// The released sizes in float64, with weights from the rule alone: losses, activations, gradients. And what can be
// counted without running them: parameters, and the groups of the optimizer.

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "support/cae_model.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

// "cae_base", "caev2_tiny", ...
CaeSizes sizes_of(const std::string& name) {
  return name == "cae_base" ? cae_base_sizes() : cae_v2_sizes(name.substr(name.find('_') + 1));
}

CaeModel model_of(const CaeSizes& s) {
  if (s.is_v2()) return {s, unit_tensor("clip_target", {s.batch, 1 + s.patches(), s.target})};
  return {s, filled_classes(s.batch, s.patches(), s.masked, s.target), target_rule("alias")};
}

int64_t elements(const NamedTensors& tensors, const std::string& prefix) {
  int64_t sum = 0;
  for (const auto& [name, tensor] : tensors) sum += name.starts_with(prefix) ? tensor.numel() : 0;
  return sum;
}

class FullSize : public ::testing::TestWithParam<std::string> {};

// A model of the size with weights, images and targets by the rule.
struct Filled {
  Filled(const std::string& name, at::ScalarType dtype)
      : sizes(sizes_of(name)),
        model(model_of(sizes)),
        images((2 * unit_tensor("input", {sizes.batch, 3, sizes.image, sizes.image})).to(dtype)),
        plan(plan_from_masks(filled_masks(sizes.batch, sizes.patches(), sizes.masked), at::kCPU)) {
    model.module().to(dtype);
    model.fill(filled_parameter);
  }
  CaeSizes sizes;
  CaeModel model;
  at::Tensor images;
  MaskPlan plan;
};

TEST_P(FullSize, LossesAndGradientNormsAgreeInFloat32) {
  LACUNA_NEEDS_SHARED("golden/cae/full_size.json");
  const Json wanted = golden_json("cae/full_size.json").at("results").at(GetParam()).at("float64");
  Filled f(GetParam(), at::kFloat);
  const auto [total, terms] = f.model.losses(f.images, f.plan);
  Ledger ledger;
  ledger.expect_relative("loss, relative", "total", total.item<double>(), wanted.at("loss").at("total"), 1e-6);
  ASSERT_EQ(terms.size() + 1, wanted.at("loss").size());
  for (const auto& [name, value] : terms)
    ledger.expect_relative("loss, relative", name, value.item<double>(), wanted.at("loss").at(name), 1e-6);
  total.backward();
  const auto norms = f.model.gradient_norms();
  for (const auto& [part, norm] : wanted.at("grad_norm").items())
    ledger.expect_relative("gradient norms, relative", part, norms.at(part), norm, 2e-6);
}

TEST_P(FullSize, LossActivationsAndGradientsAgree) {
  LACUNA_NEEDS_SHARED("golden/cae/full_size.json");
  const Json stored = golden_json("cae/full_size.json").at("results").at(GetParam());
  Filled f(GetParam(), at::kDouble);
  ASSERT_EQ(f.sizes.batch, stored.at("batch"));
  ASSERT_EQ(f.sizes.masked, stored.at("masked"));
  ASSERT_EQ(f.sizes.regressor_width, stored.at("decoder_embed_dim"));
  ASSERT_EQ(f.sizes.regressor_depth, stored.at("regressor_depth"));
  ASSERT_EQ(f.sizes.decoder_depth, stored.at("decoder_depth"));

  Ledger ledger;
  const auto activations = f.model.activations(f.images, f.plan);
  for (const auto& [name, figures] : stored.at("activations_mean_rms_first_last").items()) {
    ASSERT_TRUE(activations.contains(name)) << name;
    const at::Tensor x = activations.at(name).flatten();
    const double found[] = {x.mean().item<double>(), std::sqrt(x.square().mean().item<double>()), x[0].item<double>(),
                            x[-1].item<double>()};
    for (size_t i = 0; i < 4; ++i)
      ledger.expect("activations", text(name, "[", i, "]"), std::abs(found[i] - figures.at(i).get<double>()), 1e-11);
  }

  const auto [total, terms] = f.model.losses(f.images, f.plan);
  const Json& wanted = stored.at("float64");
  ledger.expect("loss", "total", std::abs(total.item<double>() - wanted.at("loss").at("total").get<double>()), 1e-11);
  ASSERT_EQ(terms.size() + 1, wanted.at("loss").size());
  for (const auto& [name, value] : terms)
    ledger.expect("loss", name, std::abs(value.item<double>() - wanted.at("loss").at(name).get<double>()), 1e-11);

  total.backward();
  const auto norms = f.model.gradient_norms();
  for (const auto& [part, norm] : wanted.at("grad_norm").items())
    ledger.expect_relative("gradient norms, relative", part, norms.at(part), norm, 1e-10);
  std::set<std::string> probed;
  for (const auto& [name, parameter] : f.model.parameters()) {
    const std::string& key = f.model.official(name);
    if (!stored.at("gradprobe_selected").contains(key)) continue;
    probed.insert(key);
    const auto found = probe(key, parameter.grad());
    for (size_t i = 0; i < 3; ++i) {
      const double expected = stored.at("gradprobe_selected").at(key).at(i);
      ledger.expect("gradprobe, as a share of its limit", text(key, "[", i, "]"),
                    std::abs(found[i] - expected) / (1e-8 * std::abs(expected) + 1e-12), 1.0);
    }
  }
  EXPECT_EQ(probed.size(), stored.at("gradprobe_selected").size());
}

INSTANTIATE_TEST_SUITE_P(Released, FullSize, ::testing::Values("cae_base", "caev2_tiny", "caev2_small", "caev2_base"),
                         [](const auto& each) { return each.param; });

struct Counts {
  std::string name;
  int64_t encoder, regressor, head, adapter, mask_token, all;
};

class CaeCounts : public ::testing::TestWithParam<Counts> {};

TEST_P(CaeCounts, TrainedParametersAreTheOfficialOnes) {  // cae.md section 12; position tables are not trained
  const Counts& wanted = GetParam();
  const NamedTensors parameters = model_of(sizes_of(wanted.name)).parameters();
  EXPECT_EQ(elements(parameters, "student.vit."), wanted.encoder);
  EXPECT_EQ(elements(parameters, "student.completer.blocks.") + elements(parameters, "student.completer.norm."),
            wanted.regressor);
  EXPECT_EQ(elements(parameters, "objective."), wanted.head);
  EXPECT_EQ(elements(parameters, "student.completer.adapter"), wanted.adapter);
  EXPECT_EQ(elements(parameters, "student.completer.mask_token"), wanted.mask_token);
  EXPECT_EQ(elements(parameters, ""), wanted.all);
}

INSTANTIATE_TEST_SUITE_P(Sizes, CaeCounts,
                         ::testing::Values(Counts{"cae_base", 85656576, 28368384, 34655744, 0, 768, 148681472},
                                           Counts{"caev2_tiny", 5488896, 112512, 49856, 18720, 96, 5670080},
                                           Counts{"caev2_small", 21594624, 1777152, 197888, 0, 384, 23570048},
                                           Counts{"caev2_base", 85656576, 28368384, 395264, 0, 768, 114420992}),
                         [](const auto& each) { return each.param.name; });

struct Groups {
  std::string name;
  size_t decayed_tensors;
  int64_t decayed_elements;
  size_t other_tensors;
  int64_t other_elements;
};

class CaeGroups : public ::testing::TestWithParam<Groups> {};

TEST_P(CaeGroups, WeightDecayReachesTheOfficialParameters) {
  const Groups& wanted = GetParam();
  const CaeModel model = model_of(sizes_of(wanted.name));
  const NamedTensors parameters = model.parameters();
  const AdamW optimizer(parameters, {});
  const auto sum = [&](const std::vector<std::string>& names) {
    int64_t out = 0;
    for (const std::string& name : names) out += find(parameters, name)->numel();
    return out;
  };
  EXPECT_EQ(optimizer.decayed().size(), wanted.decayed_tensors);
  EXPECT_EQ(sum(optimizer.decayed()), wanted.decayed_elements);
  EXPECT_EQ(optimizer.undecayed().size(), wanted.other_tensors);
  EXPECT_EQ(sum(optimizer.undecayed()), wanted.other_elements);
}

INSTANTIATE_TEST_SUITE_P(Sizes, CaeGroups,
                         ::testing::Values(Groups{"cae_base", 92, 148440576, 244, 240896},
                                           Groups{"caev2_tiny", 59, 5634336, 158, 35744},
                                           Groups{"caev2_small", 58, 23495424, 155, 74624},
                                           Groups{"caev2_base", 76, 114230784, 200, 190208}),
                         [](const auto& each) { return each.param.name; });

TEST(CaeGroupNames, AreTheOfficialOnes) {
  LACUNA_NEEDS_SHARED("golden/cae/param_groups.json");
  for (const char* name : {"cae_base", "caev2_tiny", "caev2_base"}) {  // the reference lists no names for small
    const Json groups = golden_json("cae/param_groups.json").at(text("pretrain_", name)).at("groups");
    const CaeModel model = model_of(sizes_of(name));
    const AdamW optimizer(model.parameters(), {});
    const auto theirs = [&](const std::vector<std::string>& names) {
      std::set<std::string> out;
      for (const std::string& each : names) out.insert(model.official(each));
      return out;
    };
    ASSERT_EQ(groups.size(), 2u);
    ASSERT_EQ(groups[0].at("weight_decay"), 0.05);
    ASSERT_EQ(groups[1].at("weight_decay"), 0.0);
    EXPECT_EQ(theirs(optimizer.decayed()), groups[0].at("params").get<std::set<std::string>>()) << name;
    EXPECT_EQ(theirs(optimizer.undecayed()), groups[1].at("params").get<std::set<std::string>>()) << name;
  }
}

}  // namespace
}  // namespace lacuna
