#pragma once
// A CAE v2 student with its objective, built from sizes, with a teacher that says what it is told: the pieces of a
// Method without its random masks, so that stored masks can be used.

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mim/distill.h"
#include "mim/student.h"
#include "support/golden.h"

namespace lacuna::testing {

class FixedTeacher : public Teacher {
 public:
  FixedTeacher(at::Tensor features, VitConfig student) : features_(std::move(features)), student_(student) {}

  ViewSpec view() const override {
    return {.side = static_cast<int>(student_.image_side), .kernel = Kernel::kBicubic, .stats = kClipStats};
  }
  int64_t grid() const override { return student_.grid(); }
  int64_t patch_side() const override { return student_.patch_side; }
  int64_t width() const override { return features_.size(2); }
  std::string describe() const override { return "stored features"; }
  Tokens observe(const at::Tensor&, const MaskPlan& plan) override { return split_tokens(features_, plan); }
  void to(at::Device, at::ScalarType) override {}

 private:
  at::Tensor features_;  // [B,1+N,K]
  VitConfig student_;
};

struct CaeSizes {
  int64_t batch = 2, image = 64, patch = 16, width = 48, depth = 2, heads = 4;
  int64_t regressor_width = 48, regressor_depth = 2, regressor_heads = 4;
  int64_t masked = 7, target = 24;
  double drop_path = 0;

  static CaeSizes of(const Json& c) {
    return {.batch = c.at("batch"),
            .image = c.at("img"),
            .patch = c.at("patch"),
            .width = c.at("dim"),
            .depth = c.at("depth"),
            .heads = c.at("heads"),
            .regressor_width = c.at("dr"),
            .regressor_depth = c.at("rdepth"),
            .regressor_heads = c.at("rheads"),
            .masked = c.at("masked"),
            .target = c.at("dout")};
  }

  VitConfig vit() const {
    VitConfig c;
    c.image_side = image;
    c.patch_side = patch;
    c.width = width;
    c.depth = depth;
    c.heads = heads;
    c.hidden = 4 * width;
    c.qkv_bias = QkvBias::kQueryValue;
    c.layer_scale = 0.1;
    c.positions = Positions::kSinCos;
    c.drop_path = drop_path;
    return c;
  }
  CompleterConfig completer() const {
    CompleterConfig c;
    c.kind = CompleterKind::kRegressor;
    c.depth = regressor_depth;
    c.width = regressor_width;
    c.heads = regressor_heads;
    c.drop_path = drop_path;
    c.final_norm = false;
    return c;
  }
  int64_t patches() const { return vit().patches(); }
};

// The named configurations of the official scripts (cae.md section 1.1): all have 12 heads.
inline CaeSizes cae_v2_sizes(const std::string& size) {
  CaeSizes s{.batch = 2,
             .image = 224,
             .width = 192,
             .depth = 12,
             .heads = 12,
             .regressor_width = 96,
             .regressor_depth = 1,
             .regressor_heads = 12,
             .masked = 30,
             .target = 512};
  if (size == "small") s.width = 384, s.regressor_width = 384, s.masked = 49;
  if (size == "base") s.batch = 1, s.width = 768, s.regressor_width = 768, s.regressor_depth = 4, s.masked = 98;
  return s;
}

inline constexpr Regions kAllRegions{.cls = 1, .visible = 1, .masked = 1};

class CaeModel {
 public:
  CaeModel(const CaeSizes& model_sizes, const at::Tensor& features, Regions regions = kAllRegions,
           Reduction reduction = Reduction::kTokenMean)
      : sizes(model_sizes),
        student(model_sizes.vit(), model_sizes.completer()),
        distill(std::make_shared<Distill>("align", 1.0, DistillConfig{.regions = regions, .reduction = reduction},
                                          std::make_unique<FixedTeacher>(features, model_sizes.vit()),
                                          student->width())),
        root_(std::make_shared<torch::nn::Module>()),
        official_(official_of_ours(model_sizes.depth, model_sizes.regressor_depth)) {
    root_->register_module("student", student.ptr());
    root_->register_module("objective", std::make_shared<torch::nn::Module>())->register_module("align", distill);
  }

  torch::nn::Module& module() { return *root_; }
  NamedTensors parameters() const { return named_tensors(*root_); }
  const std::string& official(const std::string& ours) const { return official_.at(ours); }

  // Sets every parameter by its official key, in the parameter's dtype.
  template <class Value>  // (official key, sizes) -> tensor
  void fill(Value value) {
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : parameters()) {
      const at::Tensor found = value(official(name), parameter.sizes());
      ASSERT_EQ(found.numel(), parameter.numel()) << name;
      parameter.copy_(found.reshape(parameter.sizes()));
    }
  }

  Tokens encode(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop = nullptr, bool with_masked = true) {
    return student->forward(images, plan, with_masked, drop);
  }
  ObjectiveLosses losses(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop = nullptr) {
    const Batch batch{.views = {images},
                      .ids = std::vector<int64_t>(static_cast<size_t>(images.size(0)), 0),
                      .labels = {},
                      .captions = {}};
    const StepContext context;
    const Tokens tokens = encode(images, plan, drop, distill->needs_masked());
    return distill->losses(Step{batch, plan, tokens, context});
  }

  Head& head() { return *std::dynamic_pointer_cast<Head>(distill->named_children()["head"]); }

  // Norms of the gradient by part of the official tree, and "global". An undefined gradient counts as zero.
  std::map<std::string, double> gradient_norms() const {
    std::map<std::string, double> squares;
    for (const auto& [name, parameter] : parameters()) {
      const std::string& key = official(name);
      double& part = squares[key.substr(0, key.find('.'))];
      if (!parameter.grad().defined()) continue;
      const double square = parameter.grad().to(at::kDouble).square().sum().item<double>();
      part += square;
      squares["global"] += square;
    }
    for (auto& [part, square] : squares) square = std::sqrt(square);
    return squares;
  }

  // What the official modules put out, under their names, from public parts of ours.
  std::map<std::string, at::Tensor> activations(const at::Tensor& images, const MaskPlan& plan);

  CaeSizes sizes;
  Student student;
  std::shared_ptr<Distill> distill;

 private:
  std::shared_ptr<torch::nn::Module> root_;
  std::map<std::string, std::string> official_;
};

inline std::map<std::string, at::Tensor> CaeModel::activations(const at::Tensor& images, const MaskPlan& plan) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> out;
  VitImpl& vit = *student->vit;
  RegressorImpl& regressor = *student->regressor;

  out["encoder.patch_embed"] = vit.patches(images);
  at::Tensor first;
  const at::Tensor last = vit.run_blocks(images, plan.visible, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    (block < 0 ? first : out[text("encoder.blocks.", block)]) = tokens;
  });
  BlockImpl& block = *vit.blocks->ptr<BlockImpl>(0);
  const at::Tensor normed = out["encoder.blocks.0.norm1"] = block.norm1(first);
  const at::Tensor attended = out["encoder.blocks.0.attn"] = block.attn(normed);
  const at::Tensor middle = out["encoder.blocks.0.norm2"] = block.norm2(first + block.ls1(attended));
  out["encoder.blocks.0.mlp"] = block.mlp(middle);

  at::Tensor latents = out["encoder.norm"] = vit.norm(last);
  if (regressor.adapter) {
    out["encoder_to_regresser"] = regressor.adapter(latents);
    latents = out["encoder_to_regresser_norm"] = regressor.adapter_norm(out["encoder_to_regresser"]);
  }

  const at::Tensor visible = latents.slice(1, 1);
  const at::Tensor grid = regressor.named_buffers()["positions"].expand({plan.batch, plan.patches, regressor.width()});
  const at::Tensor query_positions = pick_rows(grid, plan.masked);
  const at::Tensor context_positions = at::cat({pick_rows(grid, plan.visible), query_positions}, 1);
  at::Tensor query = regressor.mask_token.expand({plan.batch, plan.masked_count(), regressor.width()});
  for (int64_t t = 0; t < sizes.regressor_depth; ++t) {
    RegressorBlockImpl& cross = *regressor.blocks->ptr<RegressorBlockImpl>(static_cast<size_t>(t));
    const at::Tensor context = at::cat({visible, query}, 1);
    if (t == 0) {
      const std::string name = "regresser.regressor_blocks.0.";
      const at::Tensor q = out[name + "norm1_q"] = cross.norm_q(query + query_positions);
      const at::Tensor k = out[name + "norm1_k"] = cross.norm_k(context + context_positions);
      const at::Tensor v = out[name + "norm1_v"] = cross.norm_v(context);
      const at::Tensor a = out[name + "cross_attn"] = cross.attn(q, k, v);
      const at::Tensor stream = out[name + "norm2_cross"] = cross.norm2(query + cross.ls1(a));
      out[name + "mlp_cross"] = cross.mlp(stream);
    }
    query = out[text("regresser.regressor_blocks.", t)] =
        cross.forward(query, context, query_positions, context_positions, 0, nullptr);
  }
  out["regresser"] = regressor.forward(visible, plan, nullptr);

  auto& norm = *head().named_children()["norm"]->as<LayerNormImpl>();
  out["decoder.norm.cls"] = norm.forward(latents.slice(1, 0, 1));
  out["decoder.norm.visible"] = norm.forward(visible);
  out["decoder.norm.masked"] = norm.forward(out["regresser"]);
  out["decoder.head"] = head().forward(encode(images, plan).join(kAllRegions));
  return out;
}

}  // namespace lacuna::testing
