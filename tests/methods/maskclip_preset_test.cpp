// The preset of MaskCLIP as a user runs it: the reference's parameter counts at ViT-B/16, and twenty steps on captions
// that a tokenizer was trained on, with a resume in the middle.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "methods/methods.h"
#include "support/maskclip_model.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using testing::golden_json;
using testing::Json;

TEST(MaskClipPreset, HasTheReferencesParametersAtFullSize) {
  LACUNA_NEEDS_SHARED("golden/maskclip/parameter_counts.json");
  const Json counts = golden_json("maskclip/parameter_counts.json");
  Composition c = recipe_of("maskclip", "base").composition;
  TextConfig words = c.text_tower.tower;
  words.vocabulary = 49408;
  words.hidden = 4 * words.width;
  VitConfig vit = c.student.vit;
  const Student student(c.student, vit, c.completer);
  const TextStudent text = testing::maskclip::text_student_of(words);
  const Contrast contrast("contrast", 1, c.objectives.at(0).contrast, text, vit.width);
  const auto head =
      build_head(c.objectives.at(1).distill.head, {.width = vit.width, .grid = vit.grid(), .codebook = {}});
  const MaskedLanguage tied("words", 1, c.objectives.at(2).words, text);
  MaskedLanguageConfig untied_config = c.objectives.at(2).words;
  untied_config.tied = false;
  const MaskedLanguage untied("words", 1, untied_config, text);

  std::map<std::string, int64_t> found;
  const auto of = [](const torch::nn::Module& module, const std::string& prefix, bool buffers = false) {
    int64_t count = 0;
    for (const auto& [name, tensor] : named_tensors(module, "", buffers)) {
      if (name.starts_with(prefix)) count += tensor.numel();
    }
    return count;
  };
  found["visual_trunk"] = parameter_count(*student->vit);
  found["image_projection"] = of(contrast, "vision_projection");
  found["visual_with_projection"] = found["visual_trunk"] + found["image_projection"];
  found["text_tower_with_projection"] = parameter_count(*text->tower) + of(contrast, "text_projection");
  found["logit_scale"] = of(contrast, "logit_scale");
  found["decoder_embed"] = of(*student, "completer.embed");
  found["mask_token"] = of(*student, "completer.mask_token");
  found["decoder_block"] = of(*student, "completer.blocks");
  found["decoder_norm"] = of(*student, "completer.norm");
  found["head_mlp"] = of(*head, "mlp");
  found["head_weight_v"] = of(*head, "weight_v");
  found["head_weight_g"] = of(*head, "weight_g", /*buffers=*/true);
  found["text_decoder_blocks"] = of(tied, "blocks");
  found["text_decoder_ln"] = of(tied, "norm");
  found["mlm_mask_embedding"] = of(tied, "mask_embedding");
  found["mlm_bias_tied"] = of(tied, "word_bias");
  found["mlm_head_untied_with_bias"] = of(untied, "head") + of(untied, "word_bias");
  found["ema_copy_trunk_and_head"] =
      found["visual_trunk"] + found["head_mlp"] + found["head_weight_v"] + found["head_weight_g"];
  found["clip_only_trained"] = found["visual_trunk"] + parameter_count(*text) + parameter_count(contrast);
  found["maskclip_trained_tied_frozen_g"] = parameter_count(*student) + parameter_count(*text) +
                                            parameter_count(contrast) + parameter_count(*head) + parameter_count(tied);
  for (const auto& [name, count] : counts.items()) {
    if (name != "config") {
      EXPECT_EQ(found.at(name), count.get<int64_t>()) << name;
    }
  }
  EXPECT_EQ(found.size(), counts.size() - 1);
}

const std::vector<std::string>& captions() {
  static const std::vector<std::string> kCaptions = {"a red square above a blue circle",
                                                     "two green triangles",
                                                     "a blue circle left of a red square",
                                                     "a yellow star",
                                                     "",
                                                     "three small circles in a row"};
  return kCaptions;
}

// A run without loader and trainer: random images, real captions, the preset's objectives and optimizer.
class ShortRun {
 public:
  ShortRun() {
    Recipe recipe = recipe_of("maskclip", "micro");
    recipe.composition.student.image_side = 64;
    const auto tokenizer = std::make_shared<const Tokenizer>(Tokenizer::train(captions(), 560));
    method = build_method(recipe.composition, tokenizer, /*seed=*/5);
    config = recipe.train.adamw;
    optimizer = std::make_unique<AdamW>(named_tensors(method->module()), config);
  }

  Losses step(int64_t k) {
    constexpr int64_t kBatch = 6, kSide = 64;
    Batch batch;
    Rng rng(1, Purpose::kTest, static_cast<uint64_t>(k));
    const at::Tensor images = at::empty({kBatch, 3, kSide, kSide});
    for (int64_t i = 0; i < images.numel(); ++i) images.data_ptr<float>()[i] = static_cast<float>(rng.uniform(-2, 2));
    batch.views.assign(method->views().size(), images);
    batch.ids = {0, 1, 2, 3, 4, 5};
    batch.captions = captions();
    batch.epoch = k / 4;
    const StepContext context{
        .seed = 5, .step = k, .diagnose = true, .total_steps = 20, .steps_per_epoch = 4, .lr = 1e-3};
    optimizer->zero_grad();
    Losses losses = method->losses(batch, context);
    losses.total.backward();
    method->before_update(context);
    norm = optimizer->step(1e-3, config.weight_decay).item<double>();
    method->after_step(context);
    return losses;
  }

  // All that a checkpoint holds, as copies.
  NamedTensors saved() {
    NamedTensors out;
    for (const auto& part : {named_tensors(method->module()), method->extra_state(), optimizer->state()}) {
      for (const auto& [name, tensor] : part) out.emplace_back(name, tensor.detach().clone());
    }
    return out;
  }
  void resume(const NamedTensors& state) {
    const at::NoGradGuard no_grad;
    NamedTensors moments;
    for (const auto& [name, tensor] : state) {
      for (const auto& part : {named_tensors(method->module()), method->extra_state()}) {
        if (const at::Tensor* own = find(part, name)) at::Tensor(*own).copy_(tensor);
      }
      for (const char* leaf : {".exp_avg", ".exp_avg_sq", ".step"}) {
        if (name.ends_with(leaf)) moments.emplace_back(name, tensor);
      }
    }
    optimizer->load_state(moments);
  }

  std::unique_ptr<Method> method;
  AdamWConfig config;
  std::unique_ptr<AdamW> optimizer;
  double norm = 0;
};

TEST(MaskClipPreset, RunsTwentyStepsWithFiniteTermsAndResumesExactly) {
  ShortRun whole;
  std::map<std::string, double> first, last;
  NamedTensors middle;
  for (int64_t k = 0; k < 20; ++k) {
    if (k == 10) middle = whole.saved();
    const Losses losses = whole.step(k);
    for (const NamedScalars& scalars : {losses.terms, losses.health}) {
      for (const auto& [name, value] : scalars) {
        EXPECT_TRUE(std::isfinite(value.item<double>())) << name << " of step " << k;
        if (k == 0) first[name] = value.item<double>();
        last[name] = value.item<double>();
      }
    }
    EXPECT_TRUE(std::isfinite(whole.norm)) << k;
    EXPECT_NEAR(losses.total.item<double>(),
                last.at("contrast/loss") + 0.05 * last.at("distill/loss") + 0.05 * last.at("words/loss"), 1e-5);
    EXPECT_NEAR(last.at("contrast/loss"), last.at("contrast/image") + last.at("contrast/text"), 1e-5);
  }
  EXPECT_EQ(whole.optimizer->skipped().item<float>(), 0);
  // What an untrained network knows: nothing about pairs, prototypes and words.
  EXPECT_NEAR(first.at("contrast/image"), std::log(6.0), 0.7);
  // Cosines with random prototypes in 64 dimensions, over a temperature of 0.1, have a variance of 1 / (64 * 0.01).
  EXPECT_NEAR(first.at("distill/loss"), std::log(512.0) + 0.5 / 0.64, 0.3);
  EXPECT_NEAR(first.at("words/loss"), std::log(560.0), 2.5);
  EXPECT_LT(last.at("words/loss"), first.at("words/loss"));
  EXPECT_LT(last.at("contrast/loss"), first.at("contrast/loss"));

  ShortRun resumed;
  resumed.resume(middle);
  for (int64_t k = 10; k < 20; ++k) resumed.step(k);
  const NamedTensors wanted = whole.saved(), found = resumed.saved();
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].first, wanted[i].first);
    EXPECT_TRUE(found[i].second.equal(wanted[i].second)) << found[i].first;
  }
  EXPECT_GT(whole.method->extra_state().size(), 50u);
}

TEST(MaskClipPreset, TheAveragedTeacherIsNoCopyOfTheStudentAndIsNotTrained) {
  ShortRun run;
  const NamedTensors before = run.saved();
  for (int64_t k = 0; k < 3; ++k) run.step(k);
  const NamedTensors after = run.saved();
  const std::string teacher = "distill.teacher.vit.patch_embed.weight", student = "student.vit.patch_embed.weight";
  EXPECT_TRUE(find(before, teacher)->equal(*find(before, student)));
  EXPECT_FALSE(find(after, teacher)->equal(*find(after, student)));
  EXPECT_FALSE(find(after, teacher)->equal(*find(before, teacher)));
  for (const auto& [name, parameter] : named_tensors(run.method->module()))
    EXPECT_FALSE(name.find("teacher") != std::string::npos) << name;
}

}  // namespace
}  // namespace lacuna
