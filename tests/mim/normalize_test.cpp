#include "mim/normalize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/golden.h"
#include "train/precision.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr NormalizeKind kStateless[] = {NormalizeKind::kKeep,      NormalizeKind::kUnit,
                                        NormalizeKind::kLayerNorm, NormalizeKind::kInstanceNorm,
                                        NormalizeKind::kBatchNorm, NormalizeKind::kBatchScalar};

// Correlated channels of different scale and mean, [B,1+N,K].
at::Tensor grid(const std::string& name, int64_t batch = 3, int64_t patches = 40, int64_t width = 6) {
  const at::Tensor mix = unit_tensor("mix", {width, width}) + at::diag(at::arange(1, 1 + width, at::kDouble));
  return at::matmul(unit_tensor(name, {batch, 1 + patches, width}), mix) + unit_tensor("mean", {width}) * 5;
}

at::Tensor patches_of(const at::Tensor& x) { return x.slice(1, 1); }

at::Tensor shaped(const at::Tensor& x, const NormalizeConfig& config, double temperature = 1) {
  return Normalizer(config, x.size(-1)).apply(x, temperature);
}

// ---- Properties -----------------------------------------------------------------------------------------------------

TEST(NormalizeStateless, EachKindHasItsInvariant) {
  const at::Tensor x = grid("x");
  const auto of = [&](NormalizeKind kind) { return shaped(x, {.kind = kind, .eps = 1e-300}); };
  EXPECT_TRUE(of(NormalizeKind::kKeep).equal(x));
  EXPECT_LT(largest(at::linalg_vector_norm(of(NormalizeKind::kUnit), 2, -1) - 1), 1e-12);
  const std::pair<NormalizeKind, std::vector<int64_t>> pooled[] = {{NormalizeKind::kLayerNorm, {2}},
                                                                   {NormalizeKind::kInstanceNorm, {1}},
                                                                   {NormalizeKind::kBatchNorm, {0, 1}},
                                                                   {NormalizeKind::kBatchScalar, {0, 1, 2}}};
  for (const auto& [kind, dims] : pooled) {
    const at::Tensor y = patches_of(of(kind));
    EXPECT_LT(largest(y.mean(dims)), 1e-12) << static_cast<int>(kind);
    EXPECT_LT(largest(y.square().mean(dims) - 1), 1e-12) << static_cast<int>(kind);
  }
}

TEST(NormalizeStateless, UnbiasedVariancesDivideByOneLess) {
  const at::Tensor x = grid("x");
  const std::pair<NormalizeKind, double> counts[] = {{NormalizeKind::kLayerNorm, 6},
                                                     {NormalizeKind::kInstanceNorm, 40},
                                                     {NormalizeKind::kBatchNorm, 120},
                                                     {NormalizeKind::kBatchScalar, 720}};
  for (const auto& [kind, n] : counts) {
    const at::Tensor biased = shaped(x, {.kind = kind, .eps = 1e-300});
    const at::Tensor unbiased = shaped(x, {.kind = kind, .eps = 1e-300, .unbiased = true});
    EXPECT_LT(deviation(unbiased, biased * std::sqrt((n - 1) / n)), 1e-12) << static_cast<int>(kind);
  }
}

TEST(NormalizeStateless, TheClassTokenIsShapedButNeverCounted) {
  const at::Tensor x = grid("x");
  at::Tensor other = x.clone();
  other.select(1, 0).add_(100);
  for (const NormalizeKind kind : kStateless) {
    const at::Tensor a = shaped(x, {.kind = kind}), b = shaped(other, {.kind = kind});
    EXPECT_TRUE(patches_of(a).equal(patches_of(b))) << static_cast<int>(kind);
    EXPECT_EQ(a.sizes(), x.sizes());
  }
  for (const NormalizeKind kind : {NormalizeKind::kInstanceNorm, NormalizeKind::kBatchNorm}) {
    const at::Tensor a = shaped(x, {.kind = kind, .eps = 1e-300}), b = shaped(other, {.kind = kind, .eps = 1e-300});
    const at::Tensor sd = kind == NormalizeKind::kBatchNorm ? patches_of(x).std({0, 1}, false).expand({3, 6})
                                                            : patches_of(x).std({1}, false);
    EXPECT_LT(deviation((b - a).select(1, 0), 100 / sd), 1e-10);
  }
}

TEST(NormalizeStateless, TheFreeFunctionCountsEveryToken) {
  const at::Tensor x = grid("x");
  for (const NormalizeKind kind : kStateless) {
    const NormalizeConfig config{.kind = kind};
    EXPECT_TRUE(normalize(patches_of(x), config).equal(patches_of(shaped(x, config)))) << static_cast<int>(kind);
  }
  for (const NormalizeConfig& config :
       {NormalizeConfig{.kind = NormalizeKind::kWhiten}, NormalizeConfig{.kind = NormalizeKind::kCenterSharpen},
        NormalizeConfig{.kind = NormalizeKind::kBatchNorm, .running = true}})
    EXPECT_THROW(normalize(x, config), std::logic_error);
}

TEST(NormalizeStateless, IsDifferentiable) {  // a prediction is shaped by the same function
  const at::Tensor x = grid("x", 2, 3, 4).slice(1, 1).clone().requires_grad_();
  const at::Tensor weight = unit_tensor("w", x.sizes());
  for (const NormalizeKind kind : kStateless) {
    const auto value = [&](const at::Tensor& at) { return (normalize(at, {.kind = kind}) * weight).sum(); };
    x.mutable_grad().reset();
    value(x).backward();
    const at::Tensor step = 1e-6 * unit_tensor("direction", x.sizes());
    const double slope = ((value(x.detach() + step) - value(x.detach() - step)) / 2).item<double>();
    EXPECT_NEAR((x.grad() * step).sum().item<double>(), slope, 1e-13) << static_cast<int>(kind);
  }
}

TEST(NormalizeStateless, AZeroTokenStaysFinite) {
  for (const NormalizeKind kind : kStateless) {
    EXPECT_EQ(largest(shaped(at::zeros({2, 5, 4}), {.kind = kind})), 0) << static_cast<int>(kind);
  }
}

TEST(NormalizeStateless, HalvesAreShapedInFloat32) {
  const at::Tensor half = grid("x").to(at::kBFloat16);
  for (const NormalizeKind kind : {NormalizeKind::kKeep, NormalizeKind::kLayerNorm, NormalizeKind::kBatchNorm,
                                   NormalizeKind::kWhiten, NormalizeKind::kCenterSharpen}) {
    const at::Tensor y = shaped(half, {.kind = kind});
    EXPECT_EQ(y.scalar_type(), at::kFloat) << static_cast<int>(kind);
    EXPECT_TRUE(y.equal(shaped(half.to(at::kFloat), {.kind = kind}))) << static_cast<int>(kind);
  }
}

TEST(NormalizeRunning, BatchNormFollowsThePast) {
  const NormalizeConfig config{.kind = NormalizeKind::kBatchNorm, .running = true, .momentum = 0.75};
  Normalizer running(config, 6);
  const at::Tensor a = grid("a"), b = grid("b") * 2 + 1;
  const NormalizeConfig batch{.kind = NormalizeKind::kBatchNorm};
  EXPECT_TRUE(running.apply(a, 0).equal(shaped(a, batch))) << "before the first update the batch stands for the past";
  running.update(a);
  EXPECT_LT(deviation(running.apply(a, 0), shaped(a, batch)), 1e-12);
  running.update(b);
  const at::Tensor mean = 0.75 * patches_of(a).mean({0, 1}) + 0.25 * patches_of(b).mean({0, 1});
  const at::Tensor var = 0.75 * patches_of(a).var({0, 1}, false) + 0.25 * patches_of(b).var({0, 1}, false);
  const at::Tensor x = grid("x");
  EXPECT_LT(deviation(running.apply(x, 0), (x - mean) / at::sqrt(var + 1e-5)), 1e-12);
}

TEST(NormalizeRunning, WhiteningDecorrelatesAndStaysCloseToTheInput) {
  const NormalizeConfig config{.kind = NormalizeKind::kWhiten, .eps = 1e-14};
  Normalizer whitening(config, 6);
  const at::Tensor x = grid("x");
  const auto covariance = [](const at::Tensor& y) {
    const at::Tensor rows = patches_of(y).flatten(0, 1), centered = rows - rows.mean(0);
    return at::mm(centered.t(), centered) / rows.size(0);
  };
  ASSERT_GT(largest(covariance(x) - at::eye(6, at::kDouble)), 1) << "the input is not white";
  const at::Tensor first = whitening.apply(x, 0);
  whitening.update(x);
  for (const at::Tensor& y : {first, whitening.apply(x, 0)}) {
    EXPECT_LT(largest(covariance(y) - at::eye(6, at::kDouble)), 1e-11);
    EXPECT_LT(largest(patches_of(y).mean({0, 1})), 1e-12);
  }
  // ZCA: the map is symmetric and positive, so no channel is turned into another.
  const at::Tensor basis = at::cat({at::zeros({1, 1, 6}, at::kDouble), at::eye(6, at::kDouble).unsqueeze(0)}, 1);
  const at::Tensor images = whitening.apply(basis, 0)[0];
  const at::Tensor map = images.slice(0, 1) - images.slice(0, 0, 1);
  EXPECT_LT(deviation(map, map.t()), 1e-12);
  EXPECT_GT(std::get<0>(at::linalg_eigh(map)).min().item<double>(), 0);
}

TEST(NormalizeRunning, WhiteningKeepsItsPrecisionInABf16Step) {
  const at::Tensor x = grid("x").to(at::kFloat);
  Normalizer plain({.kind = NormalizeKind::kWhiten}, 6), mixed({.kind = NormalizeKind::kWhiten}, 6);
  for (int step = 0; step < 2; ++step) {  // with the batch's statistics, then with running ones
    const at::Tensor expected = plain.apply(x, 0);
    plain.update(x);
    const AutocastScope autocast(at::kCPU, true);
    EXPECT_TRUE(mixed.apply(x, 0).equal(expected)) << step;
    mixed.update(x);
  }
}

TEST(NormalizeRunning, WhiteningShrinksTowardsTheMeanVariance) {
  const at::Tensor x = grid("x");
  const at::Tensor total = patches_of(x).var({0, 1}, false).mean();
  const at::Tensor y = shaped(x, {.kind = NormalizeKind::kWhiten, .eps = 1 - 1e-13});
  EXPECT_LT(deviation(y, (x - patches_of(x).mean({0, 1})) / at::sqrt(total)), 1e-10);
  EXPECT_EQ(largest(shaped(at::ones({2, 5, 4}), {.kind = NormalizeKind::kWhiten})), 0);
  // Fewer tokens than channels: the covariance is singular, the result is not.
  EXPECT_LT(largest(shaped(grid("x", 1, 3, 16), {.kind = NormalizeKind::kWhiten})), 100);
}

TEST(NormalizeRunning, MeansOfRanksAverageToTheWholeBatch) {
  for (const NormalizeConfig& config :
       {NormalizeConfig{.kind = NormalizeKind::kWhiten}, NormalizeConfig{.kind = NormalizeKind::kCenterSharpen},
        NormalizeConfig{.kind = NormalizeKind::kBatchNorm, .running = true}}) {
    Normalizer whole(config, 6), split(config, 6);
    for (const char* name : {"a", "b"}) {
      const at::Tensor x = grid(name, 4);
      whole.update(x);
      const TokenMeans left = split.means(x.slice(0, 0, 2)), right = split.means(x.slice(0, 2));
      TokenMeans mean{.patch = (left.patch + right.patch) / 2, .cls = (left.cls + right.cls) / 2};
      if (left.second.defined()) mean.second = (left.second + right.second) / 2;
      split.update_from_means(mean);
    }
    ASSERT_FALSE(whole.state().empty());
    for (size_t i = 0; i < whole.state().size(); ++i) {
      EXPECT_LT(deviation(split.state()[i].second, whole.state()[i].second), 1e-12) << whole.state()[i].first;
    }
  }
}

TEST(NormalizeRunning, AResumedRunShapesTheSame) {
  for (const NormalizeConfig& config :
       {NormalizeConfig{.kind = NormalizeKind::kWhiten}, NormalizeConfig{.kind = NormalizeKind::kCenterSharpen},
        NormalizeConfig{.kind = NormalizeKind::kBatchNorm, .running = true}}) {
    Normalizer before(config, 6), after(config, 6);
    const at::Tensor x = grid("x").to(at::kFloat);
    after.apply(x, 0);
    before.update(grid("a"));
    before.update(grid("b"));
    for (size_t i = 0; i < before.state().size(); ++i) {
      EXPECT_EQ(after.state()[i].first, before.state()[i].first);
      after.state()[i].second.copy_(before.state()[i].second);  // as a checkpoint is read
    }
    EXPECT_TRUE(after.apply(x, 0.5).equal(before.apply(x, 0.5))) << static_cast<int>(config.kind);
    after.update(x);
    before.update(x);
    EXPECT_TRUE(after.apply(x, 0.5).equal(before.apply(x, 0.5))) << static_cast<int>(config.kind);
  }
}

TEST(NormalizeRunning, StateIsNamedSharedAndOnlyWhereNeeded) {
  const auto names = [](const NormalizeConfig& config) {
    std::string out;
    for (const auto& [name, tensor] : Normalizer(config, 4).state()) out += text(name, tensor.sizes(), " ");
    return out;
  };
  EXPECT_EQ(names({.kind = NormalizeKind::kCenterSharpen}), "center[1, 1, 4] center_cls[1, 1, 4] ");
  EXPECT_EQ(names({.kind = NormalizeKind::kWhiten}), "running_mean[4] running_cov[4, 4] updates[] ");
  EXPECT_EQ(names({.kind = NormalizeKind::kBatchNorm, .running = true}), "running_mean[4] running_var[4] updates[] ");
  for (const NormalizeKind kind : kStateless) {
    EXPECT_EQ(names({.kind = kind}), "") << static_cast<int>(kind);
    Normalizer stateless({.kind = kind}, 6);
    stateless.update(grid("x"));
  }
  EXPECT_THROW(Normalizer({.kind = NormalizeKind::kUnit, .running = true}, 4), Error);
  EXPECT_THROW(Normalizer(NormalizeConfig{}, 4).apply(at::zeros({2, 3, 5}), 0), std::logic_error);
}

TEST(NormalizeRunning, CentringFollowsPatchesAndClassTokenApart) {
  Normalizer centring({.kind = NormalizeKind::kCenterSharpen, .momentum = 0.75}, 6);
  const at::Tensor a = grid("a"), x = grid("x");
  EXPECT_LT(deviation(centring.apply(x, 0.5), at::softmax(x / 0.5, -1)), 1e-14) << "centres start at zero";
  centring.update(a);
  const at::Tensor patch = 0.25 * patches_of(a).mean({0, 1}), cls = 0.25 * a.select(1, 0).mean(0);
  const at::Tensor y = centring.apply(x, 0.5);
  EXPECT_LT(deviation(patches_of(y), at::softmax((patches_of(x) - patch) / 0.5, -1)), 1e-14);
  EXPECT_LT(deviation(y.select(1, 0), at::softmax((x.select(1, 0) - cls) / 0.5, -1)), 1e-14);
}

TEST(NormalizeSettings, AreReadByName) {
  NormalizeConfig config;
  Fields fields;
  config.fields(fields);
  for (const auto& named : kNormalizeKinds) {
    EXPECT_TRUE(fields.find("kind")->read({.data = std::string(named.name)}));
    EXPECT_EQ(config.kind, named.value);
  }
  EXPECT_EQ(std::size(kNormalizeKinds), 8u);
  EXPECT_FALSE(fields.find("momentum")->read({.data = 1.0}));
  EXPECT_FALSE(fields.find("eps")->read({.data = 0.0}));
}

// ---- Parity (golden/unified, golden/maskclip) -----------------------------------------------------------------------

class RowFile {
 public:
  explicit RowFile(const std::string& row) : file_(golden_path("unified/rows/" + row + ".safetensors")) {}
  bool has(const std::string& key) const { return file_.has(key); }
  at::Tensor at(const std::string& key) const { return to_tensor(file_.at(key)); }

 private:
  TensorFile file_;
};

// A class token no statistic may notice, before [B,N,K].
at::Tensor with_class_token(const at::Tensor& patches) {
  return at::cat({at::full({patches.size(0), 1, patches.size(2)}, 1e3, patches.options()), patches}, 1);
}

at::Tensor masked_rows(const at::Tensor& patches, const at::Tensor& mask) {
  return patches.index({mask.to(at::kBool)});
}

// Float32 differs by the rounding of its input, which grows with the steepness of what is computed.
void expect_parity(Ledger& ledger, const std::string& row, const std::function<at::Tensor(at::ScalarType)>& compute,
                   const at::Tensor& expected) {
  const double scale = std::max(1.0, largest(expected));
  ledger.expect("float64", row, deviation(compute(at::kDouble), expected), 1e-12);
  ledger.expect("float32", row, deviation(compute(at::kFloat), expected) / scale, 1e-6);
}

TEST(NormalizeParity, RowsOfTheUnifiedTable) {
  LACUNA_NEEDS_SHARED("golden/unified/rows");
  using enum NormalizeKind;
  const NormalizeConfig layer_norm{.kind = kLayerNorm}, unbiased{.kind = kLayerNorm, .unbiased = true};
  const std::vector<std::pair<std::string, NormalizeConfig>> rows = {
      {"maskdistill", layer_norm},
      {"maskdistill.norm_identity", {.kind = kKeep}},
      {"maskdistill.norm_layer_norm_unbiased", unbiased},
      {"maskdistill.norm_layer_norm_eps1e-5", {.kind = kLayerNorm, .eps = 1e-5}},
      {"maskdistill.norm_batch_norm", {.kind = kBatchNorm}},
      {"maskdistill.norm_batch_scalar", {.kind = kBatchScalar, .unbiased = true}},
      {"maskdistill.norm_instance_norm", {.kind = kInstanceNorm}},
      {"maskdistill.norm_l2", {.kind = kUnit}},
      {"maskdistill.feature_ln_post", layer_norm},
      {"maskdistill.feature_ln_post_proj", layer_norm},
      {"maskdistill.feature_raw_proj", layer_norm},
      {"maskdistill.feature_imagenet_stats", layer_norm},
      {"maskdistill.teacher_clip14", layer_norm},
      {"maskdistill.teacher_clip14_size", layer_norm},
      {"maskdistill.teacher_vit_pre_norm", layer_norm},
      {"maskdistill.teacher_vit_post_norm", layer_norm},
      {"maskdistill.self_round2", layer_norm},
      {"maskdistill.self_round2_post_norm", layer_norm},
      {"maskdistill.teacher_pixels", unbiased},
      {"mae", unbiased},
      {"mvp", {.kind = kUnit}},
      {"dbot_clip", {.kind = kKeep}}};
  const at::Tensor default_raw = RowFile("maskdistill").at("teacher.raw");
  Ledger ledger;
  for (const auto& [name, config] : rows) {
    const RowFile row(name);
    const at::Tensor raw = row.has("teacher.raw") ? row.at("teacher.raw") : default_raw;
    ASSERT_EQ(raw.dim(), 3) << name;
    const auto compute = [&, &config = config](at::ScalarType dtype) {
      const at::Tensor y = shaped(with_class_token(raw.to(dtype)), config);
      return masked_rows(patches_of(y), row.at("input.mask"));
    };
    expect_parity(ledger, name, compute, row.at("teacher.target"));
  }
}

TEST(NormalizeParity, RowsThatKeepTheClassToken) {
  LACUNA_NEEDS_SHARED("golden/unified/rows");
  const std::pair<const char*, NormalizeConfig> rows[] = {
      {"maskdistill.feature_with_cls", {.kind = NormalizeKind::kLayerNorm}},
      {"fd", {.kind = NormalizeKind::kLayerNorm, .eps = 1e-5}},
      {"milan", {.kind = NormalizeKind::kUnit}},
      {"dbot_self", {.kind = NormalizeKind::kLayerNorm, .unbiased = true}}};
  Ledger ledger;
  for (const auto& [name, config] : rows) {
    const RowFile row(name);
    const at::Tensor raw = row.at("teacher.raw");
    const bool all = std::string(name) == "fd" || std::string(name) == "milan";
    at::Tensor chosen = at::ones({raw.size(0), raw.size(1)}, at::kBool);
    if (!all) chosen.slice(1, 1).copy_(row.at("input.mask"));
    const auto compute = [&, &config = config](at::ScalarType dtype) {
      return masked_rows(shaped(raw.to(dtype), config), chosen);
    };
    expect_parity(ledger, name, compute, row.at("teacher.target"));
  }
}

TEST(NormalizeParity, MeansOfLayers) {  // data2vec: shape each layer, average, and shape once more
  LACUNA_NEEDS_SHARED("golden/unified/rows");
  const NormalizeConfig layer_norm{.kind = NormalizeKind::kLayerNorm, .eps = 1e-5};
  const std::tuple<const char*, NormalizeConfig, NormalizeConfig> rows[] = {
      {"data2vec", layer_norm, layer_norm},
      {"data2vec.instance_norm", {.kind = NormalizeKind::kInstanceNorm}, {.kind = NormalizeKind::kKeep}},
      {"data2vec.batch_norm", {.kind = NormalizeKind::kBatchNorm}, {.kind = NormalizeKind::kKeep}}};
  const at::Tensor default_raw = RowFile("data2vec").at("teacher.raw");
  Ledger ledger;
  for (const auto& [name, each, mean] : rows) {
    const RowFile row(name);
    const at::Tensor raw = row.has("teacher.raw") ? row.at("teacher.raw") : default_raw;
    const auto compute = [&, &each = each, &mean = mean](at::ScalarType dtype) {
      std::vector<at::Tensor> layers;
      for (const at::Tensor& layer : raw.to(dtype).unbind()) layers.push_back(normalize(layer, each));
      return masked_rows(normalize(at::stack(layers).mean(0), mean), row.at("input.mask"));
    };
    expect_parity(ledger, name, compute, row.at("teacher.target"));
  }
}

// A centring normaliser with stored centres.
Normalizer centring(const at::Tensor& center, const at::Tensor& center_cls, double momentum = 0.9) {
  Normalizer out({.kind = NormalizeKind::kCenterSharpen, .momentum = momentum}, center.size(-1));
  find(out.state(), "center")->copy_(center.view({1, 1, -1}));
  find(out.state(), "center_cls")->copy_(center_cls.view({1, 1, -1}));
  return out;
}

TEST(NormalizeParity, IbotCentresAndSharpens) {  // [view,B,L,40], the class token of each view apart
  LACUNA_NEEDS_SHARED("golden/unified/rows/ibot.safetensors");
  const RowFile row("ibot");
  const Json facts = golden_json("unified/rows/cases.json").at("cases").at("ibot");
  const at::Tensor grids =  // both views as one batch
      at::cat({row.at("teacher.raw_cls").unsqueeze(2), row.at("teacher.raw")}, 2).flatten(0, 1);
  const auto compute = [&](const char* temperature, at::ScalarType dtype) {
    return centring(row.at("input.center_patch"), row.at("input.center_cls"))
        .apply(grids.to(dtype), facts.at(temperature).get<double>());
  };
  Ledger ledger;
  expect_parity(
      ledger, "patches",
      [&](at::ScalarType dtype) {
        const at::Tensor y = patches_of(compute("teacher_temp_patch", dtype));
        return masked_rows(y, row.at("input.mask").flatten(0, 1));
      },
      row.at("teacher.target"));
  expect_parity(
      ledger, "class token",
      [&](at::ScalarType dtype) {
        return compute("teacher_temp_cls", dtype).select(1, 0).view(row.at("teacher.target_cls").sizes());
      },
      row.at("teacher.target_cls"));
}

TEST(NormalizeParity, MaskClipMovesItsCentreAfterTheStep) {
  LACUNA_NEEDS_SHARED("golden/maskclip/micro_step.safetensors");
  const TensorFile step(golden_path("maskclip/micro_step.safetensors"));
  const at::Tensor logits = to_tensor(step.at("output.teacher.logits"));  // [4,16,64], patches only
  const at::Tensor start =
      to_tensor(TensorFile(golden_path("maskclip/micro_inputs.safetensors")).at("step.center")).to(at::kDouble);
  const at::Tensor moved = to_tensor(TensorFile(golden_path("maskclip/micro_after_step.safetensors")).at("center"));
  ASSERT_GT(deviation(start, moved), 1e-3);
  Ledger ledger;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const std::string group = dtype == at::kDouble ? "float64" : "float32";
    const double limit = dtype == at::kDouble ? 1e-12 : 1e-6;
    Normalizer normalizer = centring(start, start);
    const at::Tensor x = with_class_token(logits.to(dtype));
    ledger.expect_close(group, "targets", patches_of(normalizer.apply(x, 0.05)),
                        to_tensor(step.at("output.teacher.targets")), limit);
    normalizer.update(x);
    ledger.expect_close(group, "centre", *find(normalizer.state(), "center"), moved, limit);
  }
}

TEST(NormalizeParity, LayerNormOfFourNumbers) {
  LACUNA_NEEDS_SHARED("golden/unified/tables/elementary.json");
  const Json stored = golden_json("unified/tables/elementary.json").at("layer_norm_1234");
  const auto expected = [&](const char* key) {
    return torch::tensor(stored.at(key).get<std::vector<double>>(), at::kDouble).view({1, 1, 4});
  };
  const at::Tensor x = torch::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble).view({1, 1, 4});
  const NormalizeConfig biased{.kind = NormalizeKind::kLayerNorm};
  Ledger ledger;
  ledger.expect_close("float64", "biased", normalize(x, biased), expected("biased_eps1e6"), 1e-14);
  ledger.expect_close("float64", "twice", normalize(normalize(x, biased), biased), expected("twice_biased_eps1e6"),
                      1e-14);
  ledger.expect_close("float64", "unbiased", normalize(x, {.kind = NormalizeKind::kLayerNorm, .unbiased = true}),
                      expected("unbiased_eps1e6"), 1e-14);
}

}  // namespace
}  // namespace lacuna
