#pragma once
// Students of CAE and CAE v2 with their objectives, built from sizes, with a teacher that says what it is told: the
// pieces of a Method without its random masks, so that stored masks can be used.

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mim/distill.h"
#include "mim/regressor.h"
#include "mim/student.h"
#include "support/golden.h"

namespace lacuna::testing {

// Says the same whatever it is shown: features [B,1+N,K], or classes [B,N] of K.
class FixedTeacher : public Teacher {
 public:
  FixedTeacher(at::Tensor features, VitConfig student)
      : said_(std::move(features)), width_(said_.size(2)), student_(student) {}
  FixedTeacher(const at::Tensor& ids, int64_t classes, VitConfig student)
      : said_(class_grid(ids)), width_(classes), form_(TargetForm::kClasses), student_(student) {}

  ViewSpec view() const override {
    return {.side = static_cast<int>(student_.image_side), .kernel = Kernel::kBicubic, .stats = kClipStats};
  }
  int64_t grid() const override { return student_.grid(); }
  int64_t patch_side() const override { return student_.patch_side; }
  int64_t width() const override { return width_; }
  TargetForm form() const override { return form_; }
  bool has_class_token() const override { return form_ == TargetForm::kFeatures; }
  std::string describe() const override { return "stored targets"; }
  Observation observe(const at::Tensor&, const MaskPlan&, PathDrop*) override {
    ++observed;
    return {.grids = {said_}};
  }
  void to(at::Device, at::ScalarType) override {}

  int64_t observed = 0;

 private:
  at::Tensor said_;
  int64_t width_;
  TargetForm form_ = TargetForm::kFeatures;
  VitConfig student_;
};

struct CaeSizes {
  int64_t batch = 2, image = 64, patch = 16, width = 48, depth = 2, heads = 4;
  int64_t regressor_width = 48, regressor_depth = 2, regressor_heads = 4;
  int64_t decoder_depth = 0;        // 0: CAE v2
  int64_t masked = 7, target = 24;  // channels, or CAE's classes
  double drop_path = 0;

  static CaeSizes of(const Json& c) {
    const bool v1 = c.at("model") == "cae";
    return {.batch = c.at("batch"),
            .image = c.at("img"),
            .patch = c.at("patch"),
            .width = c.at("dim"),
            .depth = c.at("depth"),
            .heads = c.at("heads"),
            .regressor_width = c.at("dr"),
            .regressor_depth = c.at("rdepth"),
            .regressor_heads = c.at("rheads"),
            .decoder_depth = c.at("ddepth"),
            .masked = c.at("masked"),
            .target = c.at(v1 ? "vocab" : "dout")};
  }

  bool is_v2() const { return decoder_depth == 0; }
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
    return {.kind = CompleterKind::kRegressor,
            .depth = regressor_depth,
            .width = regressor_width,
            .heads = regressor_heads,
            .layer_scale = 0.1,
            .drop_path = drop_path,
            .final_norm = !is_v2()};
  }
  HeadConfig decoder() const {
    return {.kind = HeadKind::kDecoder,
            .depth = decoder_depth,
            .heads = regressor_heads,
            .layer_scale = 0.1,
            .drop_path = drop_path};
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

inline CaeSizes cae_base_sizes() {
  CaeSizes s = cae_v2_sizes("base");
  s.decoder_depth = 4;
  s.target = 8192;
  return s;
}

inline StudentSides sides_of(const VitConfig& vit) {
  return {.image_side = vit.image_side, .patch_side = vit.patch_side};
}

// How the alignment's target encoder follows, by the reference's names (golden/cae README).
inline TeacherConfig target_rule(const std::string& name) {
  TeacherConfig c{.kind = TeacherKind::kSelf, .sees = TeacherSight::kMasked, .drop_path = true};
  if (name == "alias") return c;
  c.kind = TeacherKind::kMomentum;
  c.momentum = {.start = name == "lag1" ? 0.0 : 0.9};
  c.update = name == "ema_after_step_0.9" ? MomentumUpdate::kAfterStep : MomentumUpdate::kBeforeUpdate;
  return c;
}

inline constexpr Regions kAllRegions{.cls = 1, .visible = 1, .masked = 1};

inline RegionConfig region_of(const Regions& r) { return {.cls = r.cls, .visible = r.visible, .masked = r.masked}; }

// CAE v2's objective: unit targets, one norm and one linear map, cosine.
inline DistillConfig cae_v2_distill(const Regions& regions = kAllRegions, Reduction reduction = Reduction::kTokenMean) {
  DistillConfig c;
  c.region = region_of(regions);
  c.reduction = reduction;
  return c;
}

inline std::shared_ptr<Distill> cae_v2_objective(const std::string& name, const DistillConfig& config,
                                                 std::unique_ptr<Teacher> teacher, Student student) {
  const auto head =
      build_head(config.head, {.width = student->width(), .out = teacher->width(), .grid = teacher->grid()});
  return std::make_shared<Distill>(name, 1.0, config, std::make_shared<SharedTeacher>(std::move(teacher)), head);
}

// A batch that no loader made: the same view for everybody.
inline Batch batch_of(const at::Tensor& images) {
  Batch batch{.views = {images}, .ids = {}, .labels = {}, .captions = {}};
  for (int64_t i = 0; i < images.size(0); ++i) batch.ids.push_back(i);
  return batch;
}

class CaeModel {
 public:
  // CAE v2.
  CaeModel(const CaeSizes& model_sizes, const at::Tensor& features, Regions regions = kAllRegions,
           Reduction reduction = Reduction::kTokenMean)
      : CaeModel(model_sizes) {
    add(cae_v2_objective("target", cae_v2_distill(regions, reduction),
                         std::make_unique<FixedTeacher>(features, sizes.vit()), student));
  }

  // CAE: cross entropy of the classes `ids` [B,N], and alignment with a target encoder that follows by `rule`.
  CaeModel(const CaeSizes& model_sizes, const at::Tensor& ids, const TeacherConfig& rule) : CaeModel(model_sizes) {
    DistillConfig tokens, align;
    tokens.normalize.kind = align.normalize.kind = NormalizeKind::kKeep;
    tokens.head = sizes.decoder();
    tokens.loss.kind = LossKind::kCrossEntropy;
    align.head.kind = HeadKind::kIdentity;
    align.loss.kind = LossKind::kL2;
    const HeadSizes decoder{.width = student->width(), .out = sizes.target, .grid = sizes.vit().grid()};
    const HeadSizes same{.width = student->width(), .out = student->width(), .grid = sizes.vit().grid()};
    add(std::make_shared<Distill>(
        "tokens", 1.0, tokens,
        std::make_shared<SharedTeacher>(std::make_unique<FixedTeacher>(ids, sizes.target, sizes.vit())),
        build_head(tokens.head, decoder)));
    add(std::make_shared<Distill>(
        "align", 2.0, align,
        std::make_shared<SharedTeacher>(make_twin_teacher(rule, sides_of(sizes.vit()), student, nullptr, align.head)),
        build_head(align.head, same)));
  }

  torch::nn::Module& module() { return *root_; }
  NamedTensors parameters() const { return named_tensors(*root_); }
  const std::string& official(const std::string& ours) const { return official_.at(ours); }

  // Sets every parameter by its official key, in the parameter's dtype; copies of them start here.
  template <class Value>  // (official key, sizes) -> tensor
  void fill(Value value) {
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : parameters()) {
      const at::Tensor found = value(official(name), parameter.sizes());
      ASSERT_EQ(found.numel(), parameter.numel()) << name;
      parameter.copy_(found.reshape(parameter.sizes()));
    }
    for (const auto& each : objectives) each->begin(0);
  }

  Encoded look(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop = nullptr, bool with_masked = true) {
    return student->forward(images, plan, with_masked, drop);
  }
  Tokens encode(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop = nullptr, bool with_masked = true) {
    return look(images, plan, drop, with_masked).tokens;
  }

  // Under the reference's names: "total", and "ce" and "mse" (unweighted) of CAE or a part for each region of CAE v2.
  struct Losses {
    at::Tensor total;
    std::map<std::string, at::Tensor> terms;
  };
  Losses losses(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop = nullptr) {
    const Batch batch = batch_of(images);
    bool with_masked = false;
    for (const auto& each : objectives) with_masked = with_masked || each->needs().masked;
    const Step step{.batch = batch,
                    .context = context_,
                    .passes = {{.plan = plan, .encoded = look(images, plan, drop, with_masked)}},
                    .drop = drop};
    Losses out;
    for (const auto& each : objectives) {
      const ObjectiveLosses part = each->losses(step);
      const at::Tensor weighted = each->weight() * part.total;
      out.total = out.total.defined() ? out.total + weighted : weighted;
      if (!sizes.is_v2()) {
        out.terms[each->objective_name() == "tokens" ? "ce" : "mse"] = part.total.detach();
        continue;
      }
      for (const auto& [name, value] : part.terms) out.terms[name] = value;
    }
    for (const auto& each : objectives) each->forget();
    return out;
  }
  // What a trainer says once the weights have moved.
  void before_update() {
    for (const auto& each : objectives) each->before_update(context_);
  }
  void after_step() {
    for (const auto& each : objectives) each->after_step(context_);
  }

  Distill& objective(size_t i = 0) { return *objectives.at(i); }

  Head& head() { return *objectives.at(0)->head(); }  // the trained one
  Regressor& regressor() { return dynamic_cast<Regressor&>(*student->completer); }

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
  std::vector<std::shared_ptr<Distill>> objectives;

 private:
  explicit CaeModel(const CaeSizes& model_sizes)
      : sizes(model_sizes),
        student(StudentConfig{}, model_sizes.vit(), model_sizes.completer()),
        root_(std::make_shared<torch::nn::Module>()),
        modules_(std::make_shared<torch::nn::Module>()),
        official_(official_of_ours(model_sizes.depth, model_sizes.regressor_depth, model_sizes.decoder_depth)) {
    root_->register_module("student", student.ptr());
    root_->register_module("objective", modules_);
  }

  void add(std::shared_ptr<Distill> objective) {
    modules_->register_module(objective->objective_name(), objective);
    objective->set_views({0});
    objectives.push_back(std::move(objective));
  }

  using Activations = std::map<std::string, at::Tensor>;
  at::Tensor vit_activations(const at::Tensor& images, const at::Tensor& rows, const std::string& name,
                             Activations& out);
  static void block_activations(BlockImpl& block, const at::Tensor& input, const std::string& name, Activations& out);
  void regressor_activations(const at::Tensor& visible, const MaskPlan& plan, Activations& out);
  void decoder_activations(const at::Tensor& masked, const MaskPlan& plan, Activations& out);

  std::shared_ptr<torch::nn::Module> root_, modules_;
  std::map<std::string, std::string> official_;
  StepContext context_{.total_steps = 10};
};

inline void CaeModel::block_activations(BlockImpl& block, const at::Tensor& input, const std::string& name,
                                        Activations& out) {
  const at::Tensor attended = out[name + ".attn"] = block.attn(out[name + ".norm1"] = block.norm1(input));
  out[name + ".norm2"] = block.norm2(input + block.ls1(attended));
  out[name + ".mlp"] = block.mlp(out[name + ".norm2"]);
}

// After the final norm; everything but the insides of the first block.
inline at::Tensor CaeModel::vit_activations(const at::Tensor& images, const at::Tensor& rows, const std::string& name,
                                            Activations& out) {
  const at::Tensor last = student->vit->run_blocks(images, rows, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    if (block >= 0) out[text(name, ".blocks.", block)] = tokens;
  });
  return out[name + ".norm"] = student->vit->norm(last);
}

inline void CaeModel::regressor_activations(const at::Tensor& visible, const MaskPlan& plan, Activations& out) {
  Regressor& r = regressor();
  const at::Tensor grid = r.named_buffers()["positions"].expand({plan.batch, plan.patches, r.width()});
  const at::Tensor query_positions = pick_rows(grid, plan.masked);
  const at::Tensor context_positions = at::cat({pick_rows(grid, plan.visible), query_positions}, 1);
  at::Tensor query = r.mask_token.expand({plan.batch, plan.masked_count(), r.width()});
  for (int64_t t = 0; t < sizes.regressor_depth; ++t) {
    RegressorBlockImpl& cross = *r.blocks->ptr<RegressorBlockImpl>(static_cast<size_t>(t));
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
  if (!sizes.is_v2()) out["regresser.norm"] = r.norm(query);
  out["regresser"] = r.regress(visible, plan, nullptr);
}

// CAE's, among the masked tokens.
inline void CaeModel::decoder_activations(const at::Tensor& masked, const MaskPlan& plan, Activations& out) {
  const at::Tensor places = token_places({.masked = 1}, plan);
  at::Tensor x = masked + at::embedding(head().named_buffers()["positions"], places);
  auto& blocks = *head().named_children()["blocks"]->as<torch::nn::ModuleListImpl>();
  for (int64_t i = 0; i < sizes.decoder_depth; ++i) {
    const std::string name = text("decoder.decoder_blocks.", i);
    BlockImpl& block = *blocks.ptr<BlockImpl>(static_cast<size_t>(i));
    if (i == 0) block_activations(block, x, name, out);
    x = out[name] = block.forward(x);
  }
  out["decoder.norm"] = head().named_children()["norm"]->as<LayerNormImpl>()->forward(x);
  out["decoder.head"] = head().forward({.tokens = masked, .places = places}, nullptr);
}

inline std::map<std::string, at::Tensor> CaeModel::activations(const at::Tensor& images, const MaskPlan& plan) {
  const at::NoGradGuard no_grad;
  Activations out;
  out["encoder.patch_embed"] = student->vit->patches(images);
  at::Tensor latents = vit_activations(images, plan.visible, "encoder", out), first;
  student->vit->run_blocks(images, plan.visible, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    if (block < 0) first = tokens;
  });
  block_activations(*student->vit->blocks->ptr<BlockImpl>(0), first, "encoder.blocks.0", out);
  if (regressor().adapter) {
    out["encoder_to_regresser"] = regressor().adapter(latents);
    latents = out["encoder_to_regresser_norm"] = regressor().adapter_norm(out["encoder_to_regresser"]);
  }
  regressor_activations(latents.slice(1, 1), plan, out);
  if (!sizes.is_v2()) {
    vit_activations(images, plan.masked, "alignment_encoder", out);
    decoder_activations(out["regresser"], plan, out);
    return out;
  }
  auto& norm = *head().named_children()["norm"]->as<LayerNormImpl>();
  out["decoder.norm.cls"] = norm.forward(latents.slice(1, 0, 1));
  out["decoder.norm.visible"] = norm.forward(latents.slice(1, 1));
  out["decoder.norm.masked"] = norm.forward(out["regresser"]);
  out["decoder.head"] = objective().predict(encode(images, plan), plan, nullptr);
  return out;
}

}  // namespace lacuna::testing
