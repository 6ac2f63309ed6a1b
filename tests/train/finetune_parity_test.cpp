// CAE's fine-tuning against the official code's tensors (golden/cae/finetune_micro): a Vit with its own table of
// relative positions in every block, mean pooling and a linear head, under AdamW with layer-wise rates. float64 and
// float32. A stored tensor that nothing here compares fails the test.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>

#include "nn/classifier.h"
#include "support/golden.h"
#include "train/optimizer.h"
#include "train/param_groups.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

struct Limits {
  double value, loss_relative, gradient_relative, step_relative, parameter_probe;
};
constexpr Limits kF64{1e-11, 1e-11, 1e-6, 1e-10, 1e-11};
constexpr Limits kF32{1e-5, 1e-6, 2e-5, 2e-6, 1e-4};

constexpr double kSmoothing = 0.1, kMixup = 0.3;

VitConfig vit_of(const Json& c) {
  VitConfig v;
  v.image_side = c.at("img");
  v.patch_side = c.at("patch");
  v.width = c.at("dim");
  v.depth = c.at("depth");
  v.heads = c.at("heads");
  v.hidden = 4 * v.width;
  v.qkv_bias = QkvBias::kQueryValue;
  v.layer_scale = 0.1;
  v.positions = Positions::kSinCos;
  v.relative_bias = RelativeBiasKind::kPerBlock;
  v.final_norm = false;
  return v;
}

// Our name -> the official one.
std::map<std::string, std::string> official_names(int64_t depth) {
  std::map<std::string, std::string> out = {{"vit.cls_token", "cls_token"}};
  const auto add = [&](const std::string& ours, const std::string& theirs) {
    for (const char* leaf : {".weight", ".bias"}) out[ours + leaf] = theirs + leaf;
  };
  add("vit.patch_embed", "patch_embed.proj");
  add("fc_norm", "fc_norm");
  add("head", "head");
  for (int64_t i = 0; i < depth; ++i) {
    const std::string theirs = text("blocks.", i, "."), ours = "vit." + theirs;
    for (const char* layer : {"norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"}) add(ours + layer, theirs + layer);
    for (const char* leaf : {"attn.qkv.weight", "attn.q_bias", "attn.v_bias"}) out[ours + leaf] = theirs + leaf;
    out[ours + "ls1.gamma"] = theirs + "gamma_1";
    out[ours + "ls2.gamma"] = theirs + "gamma_2";
    out[text("vit.relative_biases.", i, ".relative_position_bias_table")] =
        theirs + "attn.relative_position_bias_table";
  }
  return out;
}

// Cross entropy against probabilities, as timm's mixup wants it.
at::Tensor soft_loss(const at::Tensor& logits, const at::Tensor& target) {
  return -(target.to(logits.scalar_type()) * at::log_softmax(logits, -1)).sum(-1).mean();
}

at::Tensor smoothed(const at::Tensor& labels, int64_t classes, double smoothing) {
  const double off = smoothing / static_cast<double>(classes);
  return at::full({labels.size(0), classes}, off, at::kDouble)
      .scatter(1, labels.unsqueeze(1), at::full({labels.size(0), 1}, 1 - smoothing + off, at::kDouble));
}

class FineTune : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/cae/finetune_micro.json");
    golden_ = std::make_unique<CaeGolden>("finetune_micro");
    const Json& c = golden_->json().at("case");
    model_ = Classifier(vit_of(c), ClassifierConfig{.pool = Pool::kMean, .norm = true, .classes = c.at("classes")});
    model_->to(GetParam());
    names_ = official_names(c.at("depth"));
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : parameters())
      parameter.copy_(golden_->weight(names_.at(name)).reshape(parameter.sizes()));
    images_ = golden_->input("input.image").to(GetParam());
  }

  bool is_double() const { return GetParam() == at::kDouble; }
  const Limits& limits() const { return is_double() ? kF64 : kF32; }
  NamedTensors parameters() const { return named_tensors(*model_); }
  at::Tensor loss() { return soft_loss(model_(images_), golden_->at("input.soft_target")); }

  std::map<std::string, at::Tensor> activations() {
    std::map<std::string, at::Tensor> out;
    VitImpl& vit = *model_->vit;
    out["patch_embed"] = vit.patches(images_);
    at::Tensor first;
    const at::Tensor last = vit.run_blocks(images_, {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
      (block < 0 ? first : out[text("blocks.", block)]) = tokens;
    });
    BlockImpl& block = *vit.blocks->ptr<BlockImpl>(0);
    const at::Tensor bias = vit.relative_bias(0, images_.size(0));
    out["blocks.0.attn.relative_position_bias"] = bias[0];
    out["blocks.0.attn"] = block.attn(block.norm1(first), bias);
    out["blocks.0.mlp"] = block.mlp(block.norm2(first + block.ls1(out["blocks.0.attn"])));
    out["fc_norm"] = model_->pool(last);
    return out;
  }

  std::unique_ptr<CaeGolden> golden_;
  Classifier model_{nullptr};
  std::map<std::string, std::string> names_;
  at::Tensor images_;
  Ledger ledger_;
};

TEST_P(FineTune, ActivationsLogitsAndTablesAgree) {
  const at::NoGradGuard no_grad;
  auto found = activations();
  size_t compared = 0;
  for (const std::string& key : golden_->keys()) {
    if (!key.starts_with("act.")) continue;
    ASSERT_TRUE(found.contains(key.substr(4))) << key;
    ledger_.expect_close("activations", key, found.at(key.substr(4)), golden_->at(key), limits().value);
    ++compared;
  }
  EXPECT_EQ(compared, found.size());
  ledger_.expect_close("logits", "logits", model_(images_), golden_->at("output.logits"), limits().value);
  EXPECT_TRUE(model_->vit->pos_embed.to(at::kFloat).equal(golden_->at("weight.pos_embed")));
  const at::Tensor index = relative_index(4, 4);
  for (const char* block : {"0", "1"})
    EXPECT_TRUE(index.equal(golden_->at(text("buffer.blocks.", block, ".attn.relative_position_index")).to(at::kLong)));
}

TEST_P(FineTune, LossesAgree) {
  const at::NoGradGuard no_grad;
  const at::Tensor labels = golden_->at("input.labels"), logits = model_(images_);
  const at::Tensor soft =
      kMixup * smoothed(labels, 10, kSmoothing) + (1 - kMixup) * smoothed(labels.flip(0), 10, kSmoothing);
  EXPECT_LT(deviation(soft, golden_->at("input.soft_target")), 1e-7) << "timm makes it in float32";
  const std::map<std::string, at::Tensor> found = {
      {"cross_entropy", soft_loss(logits, smoothed(labels, 10, 0))},
      {"label_smoothing_0_1", soft_loss(logits, smoothed(labels, 10, kSmoothing))},
      {"soft_target", loss()}};
  ASSERT_EQ(found.size(), golden_->json().at("loss").size());
  for (const auto& [name, value] : found) {
    ledger_.expect_relative("losses, relative", name, value.item<double>(), golden_->json().at("loss").at(name),
                            limits().loss_relative);
    EXPECT_EQ(golden_->at("loss." + name).item<double>(), golden_->json().at("loss").at(name));
  }
}

TEST_P(FineTune, EveryGradientAgrees) {
  loss().backward();
  std::set<std::string> compared;
  for (const auto& [name, parameter] : parameters()) {
    const std::string& key = names_.at(name);
    ASSERT_TRUE(parameter.grad().defined()) << key;
    compared.insert("grad." + key);
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
  for (const std::string& key : golden_->keys())
    EXPECT_TRUE(!key.starts_with("grad.") || compared.contains(key)) << "nothing was compared with " << key;
  EXPECT_EQ(compared.size(), golden_->json().at("gradprobe_rows").size());
}

TEST_P(FineTune, GroupsAndTenStepsAgree) {
  const Json& hyper = golden_->json().at("hyper");
  ASSERT_TRUE(hyper.at("clip_grad").is_null());
  AdamW optimizer(parameters(),
                  {.weight_decay = hyper.at("weight_decay"), .clip = 0, .no_decay = {"pos_embed", "cls_token"}},
                  layer_decay("vit.", golden_->json().at("case").at("depth"), hyper.at("layer_decay")));
  std::set<std::tuple<double, double, std::set<std::string>>> theirs, ours;
  for (const Json& group : golden_->json().at("groups"))
    theirs.emplace(group.at("weight_decay"), group.at("lr_scale"), group.at("params").get<std::set<std::string>>());
  for (const AdamW::Group& group : optimizer.groups()) {
    std::set<std::string> names;
    for (const std::string& name : group.names) names.insert(names_.at(name));
    ours.emplace(group.decayed ? hyper.at("weight_decay").get<double>() : 0.0, group.lr_scale, names);
  }
  EXPECT_EQ(ours, theirs);

  const at::Tensor losses = golden_->at("steps.loss"), norms = golden_->at("steps.grad_norm");
  ASSERT_EQ(losses.numel(), 10);
  for (int64_t k = 0; k < 10; ++k) {
    optimizer.zero_grad();
    const at::Tensor value = loss();
    value.backward();
    const at::Tensor norm = optimizer.step(hyper.at("lr"));
    ledger_.expect_relative("steps: loss, relative", text(k), value.item<double>(), losses[k].item<double>(),
                            limits().step_relative);
    ledger_.expect_relative("steps: gradient norm, relative", text(k), norm.item<double>(), norms[k].item<double>(),
                            limits().step_relative);
    for (const auto& [name, parameter] : parameters()) {
      const std::string& key = names_.at(name);
      const at::Tensor row = golden_->row("steps.param_probe", "param_probe_rows", key);
      ASSERT_TRUE(row.defined()) << key;
      const auto mine = probe(key, parameter);
      for (int64_t i = 0; i < 3; ++i)
        ledger_.expect("steps: weights' probes", text(key, "[", i, "] after step ", k),
                       std::abs(mine[static_cast<size_t>(i)] - row[k][i].item<double>()), limits().parameter_probe);
    }
  }
}

TEST_P(FineTune, EveryKindOfStoredTensorIsKnown) {
  const std::set<std::string> known = {"input.labels", "input.soft_target", "output.logits",    "gradprobe",
                                       "steps.loss",   "steps.grad_norm",   "steps.param_probe"};
  for (const std::string& key : golden_->keys()) {
    bool read = known.contains(key);
    for (const char* prefix : {"act.", "grad.", "weight.", "buffer.", "loss."}) read = read || key.starts_with(prefix);
    EXPECT_TRUE(read) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, FineTune, ::testing::Values(at::kDouble, at::kFloat),
                         [](const auto& each) { return each.param == at::kDouble ? "f64" : "f32"; });

}  // namespace
}  // namespace lacuna
