#pragma once
// MaskCLIP as golden/maskclip states it, put together from the product's parts: the pieces of a Method without its
// random masks, so that stored masks and words can be used.

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mim/contrast.h"
#include "mim/distill.h"
#include "mim/masked_language.h"
#include "mim/student.h"
#include "support/maskclip_golden.h"

namespace lacuna::testing::maskclip {

// A text student with a tower of exactly these sizes in place of the one that its tokenizer asks for: the reference's
// vocabulary is smaller than any tokenizer's.
inline TextStudent text_student_of(const TextConfig& config) {
  const std::vector<std::string> no_texts;
  const TextTowerConfig usual;
  TextStudent out(usual, std::make_shared<const Tokenizer>(Tokenizer::train(no_texts, 514)));
  out->tower = TextTower(config);
  out->replace_module("tower", out->tower.ptr());
  return out;
}

// ---- The model ------------------------------------------------------------------------------------------------------

// One step's inputs, as stored.
struct MaskClipInputs {
  Batch batch;
  MaskPlan plan;
  at::Tensor ids;  // [B,C]
  WordMask words;
};

struct MaskClipLosses {
  at::Tensor total;
  std::map<std::string, at::Tensor> terms;  // by the reference's names
};

class MaskClipModel {
 public:
  // `config` and `hyper` are those of micro_step.json and micro_run.json, a variant's changes merged in.
  MaskClipModel(const Json& model_config, const Json& run_hyper, at::ScalarType dtype)
      : config(model_config),
        hyper(run_hyper),
        student(student_config(), vit_config(), completer_config()),
        text(text_student()),
        root_(std::make_shared<torch::nn::Module>()) {
    const auto objectives = std::make_shared<torch::nn::Module>();
    root_->register_module("student", student.ptr());
    root_->register_module("text", text.ptr());
    root_->register_module("objective", objectives);
    contrast = std::make_shared<Contrast>("contrast", 1.0, contrast_config(), text, vit_config().width);
    objectives->register_module("contrast", contrast);
    if (distills()) objectives->register_module("distill", distill = build_distill());
    if (config.at("mlm")) {
      words = std::make_shared<MaskedLanguage>("words", config.at("beta"), words_config(), text);
      objectives->register_module("words", words);
    }
    root_->to(dtype);
    const TensorFile weights(golden_path("maskclip/micro_weights.safetensors"));
    import_weights(weights, maskclip_names(config, "weight."), parameters());
    if (distill) distill->begin(/*seed=*/0);
  }

  torch::nn::Module& module() { return *root_; }
  NamedTensors parameters() const { return named_tensors(*root_); }
  NamedTensors state() const { return distill ? distill->extra_state() : NamedTensors{}; }

  // Under the reference's names and in its shapes.
  NamedTensors exported() const { return export_weights(parameters(), maskclip_names(config, "")); }
  NamedTensors exported_gradients() const {
    NamedTensors gradients;
    for (const auto& [name, parameter] : parameters()) {
      if (parameter.grad().defined()) gradients.emplace_back(name, parameter.grad());
    }
    return export_weights(gradients, maskclip_names(config, ""));
  }
  NamedTensors exported_teacher() const { return export_weights(state(), maskclip_teacher_names(config)); }

  // The single step starts from a teacher of its own and a centre.
  void set_teacher(const TensorFile& file, const at::Tensor& center) {
    const at::NoGradGuard no_grad;
    NamedTensors own;
    for (const auto& [name, tensor] : state()) {
      if (name.starts_with("teacher.")) own.emplace_back(name, tensor);
      if (name == "normalize.center") at::Tensor(tensor).copy_(center);
    }
    if (own.empty()) return;
    KeyMap map = maskclip_teacher_names(config);
    map.unneeded = {{"teacher.head.last_layer.weight_g", "1, a buffer where it is not trained"},
                    {"teacher.head.", "of the head, where the variant has one"}};
    import_weights(file, map, own);
  }

  // A Method's step, with masks and words that are given.
  Step look(const MaskClipInputs& in, const StepContext& context) {
    Step step{.batch = in.batch,
              .context = context,
              .passes = {},
              .clean = {},
              .text_ids = in.ids,
              .drop = nullptr,
              .tell = {}};
    const at::Tensor& images = in.batch.views.at(0);
    step.passes.push_back({.plan = in.plan, .encoded = student(images, in.plan, distill != nullptr, nullptr)});
    if (contrast->needs().clean) step.clean = student(images, nothing_hidden(in.plan), false, nullptr);
    return step;
  }

  MaskClipLosses losses(const MaskClipInputs& in, const StepContext& context) {
    const Step step = look(in, context);
    const ObjectiveLosses both = contrast->losses(step);
    MaskClipLosses out{.total = contrast->weight() * both.total, .terms = {}};
    for (const auto& [name, value] : both.terms) {
      if (name == "image") out.terms["L_I"] = value;
      if (name == "text") out.terms["L_T"] = value;
    }
    if (distill) add(out, "L_Dist", *distill, distill->losses(step).total);
    if (words) add(out, "L_MLM", *words, words->loss(in.ids, in.words, *context.ranks));
    if (distill) distill->forget();
    out.terms["total"] = out.total.detach();
    return out;
  }

  void before_update(const StepContext& context) {
    if (distill) distill->before_update(context);
  }
  void after_step(const StepContext& context) {
    contrast->after_step(context);
    if (distill) distill->after_step(context);
  }

  const Json config, hyper;
  Student student;
  TextStudent text;
  std::shared_ptr<Contrast> contrast;
  std::shared_ptr<Distill> distill;       // null where the variant has none
  std::shared_ptr<MaskedLanguage> words;  // null where the variant has none

  VitConfig vit_config() const {
    VitConfig c;
    c.image_side = config.at("image_size");
    c.patch_side = config.at("patch_size");
    c.width = config.at("vision_width");
    c.depth = config.at("vision_depth");
    c.heads = config.at("vision_heads");
    c.hidden = 4 * c.width;
    c.norm_eps = config.at("vision_eps");
    return c;
  }
  CompleterConfig completer_config() const {
    CompleterConfig c;
    c.kind = distills() ? CompleterKind::kDecoder : CompleterKind::kNone;
    c.depth = config.at("decoder_depth");
    c.heads = config.at("decoder_heads");
    return c;
  }
  // The reference's head, with this many prototypes.
  HeadConfig projection(int64_t prototypes) const {
    return {.kind = HeadKind::kProjection,
            .hidden = config.at("head_hidden"),
            .bottleneck = config.at("head_bottleneck"),
            .prototypes = prototypes,
            .train_gain = !hyper.at("norm_last_layer").get<bool>()};
  }

  static MaskPlan nothing_hidden(const MaskPlan& like) {
    const std::vector<uint8_t> none(static_cast<size_t>(like.patches), 0);
    return plan_from_masks(std::vector<std::vector<uint8_t>>(static_cast<size_t>(like.batch), none), at::kCPU);
  }

 private:
  bool distills() const { return config.at("distill") != "none"; }
  bool says(const char* key, const char* value) const { return config.at(key) == value; }

  StudentConfig student_config() const {
    StudentConfig c;
    c.vit = vit_config();
    return c;
  }

  TextStudent text_student() const {
    TextConfig c;
    c.vocabulary = config.at("vocab");
    c.context = config.at("context");
    c.width = config.at("text_width");
    c.depth = config.at("text_depth");
    c.heads = config.at("text_heads");
    c.hidden = 4 * c.width;
    c.norm_eps = config.at("text_eps");
    c.end_id = config.at("eot");
    c.causal = says("text_attention", "causal");
    return text_student_of(c);
  }

  ContrastConfig contrast_config() const {
    return {.embed = config.at("embed_dim"),
            .max_scale = std::exp(hyper.at("logit_scale_max").get<double>()),
            .pass = says("contrast_view", "masked") ? ContrastPass::kMasked : ContrastPass::kClean,
            .total = config.at("contrast_half") ? ContrastTotal::kMean : ContrastTotal::kSum};
  }

  MaskedLanguageConfig words_config() const {
    MaskedLanguageConfig c;
    c.depth = config.at("text_decoder_depth");
    c.heads = config.at("text_decoder_heads");
    c.causal = says("mlm_attention", "causal");
    c.tied = config.at("mlm_tied");
    return c;
  }

  static Ramp ramp(double start, double end, RampShape shape) {
    if (start == end) return {.start = start};
    return {.start = start, .end = end, .shape = shape};
  }

  DistillConfig distill_config() const {
    DistillConfig c;
    const bool everywhere = says("distill_positions", "all");
    c.region.kind = everywhere ? RegionKind::kPatches : RegionKind::kMasked;
    if (!everywhere) c.reduction = Reduction::kImageMean;
    c.head = {.kind = HeadKind::kIdentity};
    c.loss = {.kind = LossKind::kL2};
    c.normalize = {.kind = NormalizeKind::kLayerNorm};
    if (says("distill", "mse")) c.normalize_prediction = {.kind = NormalizeKind::kLayerNorm};
    if (says("distill", "pixels")) {
      c.head = {.kind = HeadKind::kLinear, .norm = false};
      c.normalize.unbiased = true;
    }
    if (!says("distill", "quantizer")) return c;
    c.head = projection(config.at("codewords"));
    c.loss = {.kind = LossKind::kSoftCrossEntropy, .temperature = config.at("student_temp")};
    c.normalize = {.kind = NormalizeKind::kCenterSharpen,
                   .momentum = config.at("center_momentum"),
                   .temperature = ramp(hyper.at("temp"), hyper.at("temp_end"), RampShape::kLinear)};
    c.normalize.temperature.over = {hyper.at("temp_warmup_epochs"), Duration::Unit::kEpochs};
    c.normalize.temperature.ends = RampEnds::kBoth;
    c.normalize.temperature.per_epoch = true;
    c.freeze_prototypes = hyper.at("freeze_last_layer_epochs");
    return c;
  }

  std::shared_ptr<Distill> build_distill() {
    const VitConfig vit = vit_config();
    const DistillConfig c = distill_config();
    const StudentSides sides{.image_side = vit.image_side, .patch_side = vit.patch_side};
    TeacherConfig teacher;
    teacher.kind = says("distill", "pixels")           ? TeacherKind::kPixels
                   : says("distill_teacher", "online") ? TeacherKind::kSelf
                                                       : TeacherKind::kMomentum;
    teacher.momentum = ramp(hyper.at("momentum"), hyper.at("momentum_end"), RampShape::kCosine);
    const HeadSizes sizes{.width = student->width(),
                          .out = says("distill", "pixels") ? 3 * vit.patch_side * vit.patch_side : student->width(),
                          .grid = vit.grid(),
                          .codebook = {}};
    const auto head = build_head(c.head, sizes);
    auto opened =
        teacher.kind == TeacherKind::kPixels
            ? make_image_teacher(teacher, sides)
            : make_twin_teacher(teacher, sides, student, says("distill", "quantizer") ? head : nullptr, c.head);
    return std::make_shared<Distill>("distill", config.at("lam"), c, std::make_shared<SharedTeacher>(std::move(opened)),
                                     head);
  }

  static void add(MaskClipLosses& out, const char* name, const Objective& objective, const at::Tensor& value) {
    out.total = out.total + objective.weight() * value;
    out.terms[name] = value.detach();
  }

  std::shared_ptr<torch::nn::Module> root_;
};

// ---- Its inputs -----------------------------------------------------------------------------------------------------

class MaskClipPool {
 public:
  explicit MaskClipPool(at::ScalarType dtype)
      : file_(golden_path("maskclip/micro_inputs.safetensors")), dtype_(dtype) {}

  at::Tensor at(const std::string& key) const { return stored(file_, key); }
  const TensorFile& file() const { return file_; }

  MaskClipInputs step() const {
    return inputs(at("step.rows"), at("step.image_noise"), at("step.text_masked_ids"), at("step.text_action"));
  }
  MaskClipInputs run(int64_t k) const {
    return inputs(at("run.rows")[k], at("run.image_noise")[k], at("run.text_masked_ids")[k], at("run.text_action")[k]);
  }

  // The share of a step's batch that a rank has.
  static MaskClipInputs part(const MaskClipInputs& whole, int64_t rank, int64_t world) {
    const int64_t b = whole.ids.size(0) / world, from = rank * b;
    const auto rows = [&](const at::Tensor& x) { return x.slice(0, from, from + b); };
    const int64_t n = whole.plan.patches, keep = whole.plan.visible_count();
    const at::Tensor hidden =
        at::zeros({whole.ids.size(0) * n}, at::kLong).index_fill(0, whole.plan.masked, 1).view({-1, n});
    MaskClipInputs out{.batch = {},
                       .plan = plan_from_order(rows(hidden).argsort(/*stable=*/true, -1, false), keep),
                       .ids = rows(whole.ids),
                       .words = {.ids = rows(whole.words.ids), .action = rows(whole.words.action)}};
    out.batch.views = {rows(whole.batch.views[0])};
    return out;
  }

 private:
  MaskClipInputs inputs(const at::Tensor& rows, const at::Tensor& noise, const at::Tensor& masked_ids,
                        const at::Tensor& action) const {
    constexpr int64_t kKeep = 4;
    MaskClipInputs out{.batch = {},
                       .plan = plan_from_order(noise.argsort(-1, false), kKeep),
                       .ids = at("pool.ids").index_select(0, rows),
                       .words = {.ids = masked_ids.clone(), .action = action.to(at::kByte)}};
    out.batch.views = {at("pool.images").index_select(0, rows).to(dtype_)};
    return out;
  }

  TensorFile file_;
  at::ScalarType dtype_;
};

// ---- The single step ------------------------------------------------------------------------------------------------

// The step with its stored masks, teacher and centre.
class MaskClipStep {
 public:
  MaskClipStep(const std::string& variant, at::ScalarType dtype)
      : pool(dtype),
        inputs(pool.step()),
        model(config_of(variant), step_json().at("single_step_hyper_parameters"), dtype) {
    model.set_teacher(TensorFile(golden_path("maskclip/micro_teacher.safetensors")), pool.at("step.center"));
  }

  MaskClipPool pool;
  MaskClipInputs inputs;
  MaskClipModel model;
  StepContext context;
};

inline double global_norm(const MaskClipModel& model) {
  double sum = 0;
  for (const auto& [name, parameter] : model.parameters()) {
    if (parameter.grad().defined()) sum += std::pow(norm_of(parameter.grad()), 2);
  }
  return std::sqrt(sum);
}

// The averaged teacher's, less what the reference carries along without using it: a head in variants without one, and
// gains that stay 1, which are no state of ours.
inline void expect_teacher(Ledger& ledger, const MaskClipModel& model, Json table, double limit, bool only_norm) {
  const bool has_head = model.config.at("distill") == "quantizer";
  const std::string gain = "head.last_layer.weight_g";
  if (model.hyper.at("norm_last_layer")) {
    const auto ones = maskclip_checksum(at::ones({model.config.at("codewords").get<int64_t>()}));
    EXPECT_NEAR(table.at(gain)[2].get<double>(), ones[2], 1e-12);
    table.erase(gain);
  }
  Json wanted;
  for (const auto& [name, value] : table.items()) {
    if (has_head || !name.starts_with("head.")) wanted["teacher." + name] = value;
  }
  expect_checksums(ledger, "teacher's checksums", model.exported_teacher(), wanted, limit, only_norm, true);
}

}  // namespace lacuna::testing::maskclip
