// One step of MaskCLIP in detail against golden/maskclip: every stored intermediate, gradient and moved tensor, in
// float64 and float32. A stored tensor that nothing compares fails a test.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "support/maskclip_model.h"
#include "train/optimizer.h"

namespace lacuna {
namespace {

using namespace testing;            // NOLINT
using namespace testing::maskclip;  // NOLINT

class MaskClipFull : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    LACUNA_NEEDS_SHARED("golden/maskclip/micro_step.safetensors");
    step_ = std::make_unique<MaskClipStep>("full", GetParam());
  }
  const MaskClipLimits& limits() const { return limits_of(GetParam()); }
  bool is_double() const { return GetParam() == at::kDouble; }

  // Compares everything stored under `prefix` with `found`, both ways.
  void expect_all(const TensorFile& file, const std::string& prefix, const std::map<std::string, at::Tensor>& found,
                  double limit) {
    size_t compared = 0;
    for (const std::string& key : file.names()) {
      if (!key.starts_with(prefix)) continue;
      const auto mine = found.find(key.substr(prefix.size()));
      if (mine == found.end()) {
        ADD_FAILURE() << "nothing was compared with " << key;
        continue;
      }
      ++compared;
      const at::Tensor expected = stored(file, key);
      if (at::isIntegralType(expected.scalar_type(), false)) {
        EXPECT_TRUE(mine->second.to(expected.scalar_type()).equal(expected)) << key;
      } else {
        const double scale = is_double() ? std::max(1.0, norm_of(expected)) : 1.0;
        ledger_.expect(prefix, key, deviation(mine->second, expected) / scale, limit);
      }
    }
    EXPECT_EQ(compared, found.size());
    EXPECT_GT(compared, 0u);
  }

  std::map<std::string, at::Tensor> outputs();
  void image_outputs(std::map<std::string, at::Tensor>& out, const std::string& name, Vit& vit, const at::Tensor& rows);
  void text_outputs(std::map<std::string, at::Tensor>& out);
  void distill_outputs(std::map<std::string, at::Tensor>& out, const Step& step);

  std::unique_ptr<MaskClipStep> step_;
  Ledger ledger_;
};

// Every parameter of `module` from the tensor of the same name behind `prefix`.
void copy_weights(const torch::nn::Module& module, const NamedTensors& source, const std::string& prefix) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : named_tensors(module)) at::Tensor(parameter).copy_(*find(source, prefix + name));
}

at::Tensor unit_rows(const at::Tensor& x) { return x / at::linalg_vector_norm(x, 2, -1, true); }

void MaskClipFull::image_outputs(std::map<std::string, at::Tensor>& out, const std::string& name, Vit& vit,
                                 const at::Tensor& rows) {
  const at::Tensor& images = step_->inputs.batch.views[0];
  const at::Tensor last = vit->run_blocks(images, rows, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    out[name + (block < 0 ? ".embedded" : text(".block", block))] = tokens;
  });
  out[name + ".patch_embed"] = vit->patches(images);
  out[name + ".tokens"] = vit->norm(last);
  if (!rows.defined()) return;
  // The reference keeps the order of the noise, we that of the image: its row k is our row rank[k].
  const at::Tensor kept = out.at("image.ids_shuffle").slice(1, 0, 4);
  const at::Tensor rank = kept.argsort(-1, false).argsort(-1, false);
  const at::Tensor order = at::cat({at::zeros({rank.size(0), 1}, at::kLong), rank + 1}, 1).unsqueeze(2);
  for (const char* leaf : {".embedded", ".block0", ".block1", ".tokens"}) {
    at::Tensor& x = out.at(name + leaf);
    x = x.gather(1, order.expand({-1, -1, x.size(2)}));
  }
}

void MaskClipFull::text_outputs(std::map<std::string, at::Tensor>& out) {
  TextTowerImpl& tower = *step_->model.text->tower;
  MaskedLanguage& words = *step_->model.words;
  const at::Tensor& ids = step_->inputs.ids;
  const WordMask& mask = step_->inputs.words;
  const at::Tensor end = tower.end_places(ids);
  const auto encode = [&](const std::string& name, at::Tensor x) {
    out[name + ".embedded"] = x;
    out[name + ".tokens"] = tower.encode(x, end);
    int64_t i = 0;
    for (const auto& block : *tower.blocks) out[name + text(".block", i++)] = x = block->as<BlockImpl>()->forward(x);
  };
  encode("text", tower.embed(ids));
  const at::Tensor hidden = mask.action.eq(static_cast<int64_t>(WordAction::kMask)).unsqueeze(2);
  encode("text_masked",
         at::where(hidden, words.mask_embedding, at::embedding(tower.token_embedding, mask.ids)) + tower.pos_embed);
  at::Tensor x = out.at("text_masked.tokens");
  int64_t i = 0;
  for (const auto& block : *words.blocks) {
    x = block->as<BlockImpl>()->forward(x, 0, nullptr, keys_up_to(end, ids.size(1), x.options()));
    out[text("text_decoder.block", i++)] = x;
  }
  out["text_decoder.tokens"] = words.norm(x);
  out["mlm.logits"] = words.logits(mask, end);
  const at::Tensor per_word = -at::log_softmax(out.at("mlm.logits"), -1).gather(-1, ids.unsqueeze(2)).squeeze(2);
  out["mlm.per_token"] = per_word.masked_select(mask.action.ne(0));
  out["text.eot_index"] = end;
  out["text.pooled"] = tower.forward(ids);
}

void MaskClipFull::distill_outputs(std::map<std::string, at::Tensor>& out, const Step& step) {
  MaskClipModel& model = step_->model;
  const MaskPlan& plan = step_->inputs.plan;
  const Pass& pass = step.passes[0];
  const auto patches = [&](const at::Tensor& grid) { return grid.slice(1, 1); };
  out["decoder.tokens"] = merge_tokens(pass.encoded.tokens, plan);
  // The decoder stopped earlier: one of fewer blocks and without the last norm, with the same weights.
  for (const int64_t depth : {0, 1}) {
    CompleterConfig c = model.completer_config();
    c.depth = depth;
    c.final_norm = false;
    const auto shorter = build_completer(c, model.vit_config().grid(), model.vit_config().width, false);
    shorter->to(GetParam());
    copy_weights(*shorter, model.parameters(), "student.completer.");
    const at::Tensor latents = pass.encoded.latents;
    const Tokens tokens = shorter->complete(
        {.cls = latents.slice(1, 0, 1), .visible = latents.slice(1, 1), .masked = {}}, plan, true, nullptr);
    out[depth == 0 ? "decoder.embedded" : "decoder.block0"] = merge_tokens(tokens, plan);
  }
  // What enters the prototypes, before it gets unit length: the layers before them as a head of their own.
  const auto bottleneck = [&](const NamedTensors& weights, const std::string& prefix, const at::Tensor& tokens) {
    const HeadConfig c{.kind = HeadKind::kMlp, .norm = false, .depth = 3, .hidden = model.config.at("head_hidden")};
    const auto layers =
        build_head(c, {.width = tokens.size(2), .out = model.config.at("head_bottleneck"), .codebook = {}});
    layers->to(GetParam());
    copy_weights(*layers, weights, prefix);
    return layers->forward({.tokens = tokens, .places = {}}, nullptr);
  };
  const at::Tensor decoded = patches(out.at("decoder.tokens"));
  out["student.bottleneck"] = bottleneck(model.parameters(), "objective.distill.head.", decoded);
  out["student.logits"] = model.distill->head()->forward({.tokens = decoded, .places = {}}, nullptr);
  const double temperature = model.config.at("student_temp");
  out["student.log_probs"] = at::log_softmax(out.at("student.logits") / temperature, -1);

  // The averaged encoder is the teacher's own: its weights in a network of the same shape.
  Vit twin(model.vit_config());
  twin->to(GetParam());
  copy_weights(*twin, model.state(), "teacher.vit.");
  image_outputs(out, "teacher", twin, {});
  out["teacher.bottleneck"] = bottleneck(model.state(), "teacher.head.", patches(out.at("teacher.tokens")));
  const Observation seen = model.distill->teacher()->observe(step_->inputs.batch.views[0], plan, nullptr);
  out["teacher.logits"] = patches(seen.grids.at(0));
  out["teacher.centered"] = out.at("teacher.logits") - step_->pool.at("step.center").to(GetParam());
  out["teacher.targets"] = patches(merge_tokens(model.distill->targets(step, 0, plan, /*remember=*/false), plan));
  model.distill->forget();
  out["distill.per_token"] = token_loss(out.at("student.logits"), out.at("teacher.targets"),
                                        {.kind = LossKind::kSoftCrossEntropy, .temperature = temperature});
}

std::map<std::string, at::Tensor> MaskClipFull::outputs() {
  MaskClipModel& model = step_->model;
  std::map<std::string, at::Tensor> out;
  const MaskPlan& plan = step_->inputs.plan;
  out["image.ids_shuffle"] = step_->pool.at("step.image_noise").argsort(-1, false);
  out["image.ids_restore"] = out.at("image.ids_shuffle").argsort(-1, false);
  out["image.mask"] = at::zeros({plan.batch * plan.patches}, at::kLong).index_fill(0, plan.masked, 1).view({4, 16});
  image_outputs(out, "student_full", model.student->vit, {});
  image_outputs(out, "student_masked", model.student->vit, plan.visible);
  text_outputs(out);
  const Step step = model.look(step_->inputs, step_->context);
  distill_outputs(out, step);

  const auto projection = [&](const char* name) { return model.contrast->named_children()[name]->as<LinearImpl>(); };
  out["image.pooled"] = step.clean.latents.select(1, 0);
  out["image.projected"] = projection("vision_projection")->forward(out.at("image.pooled"));
  out["text.projected"] = projection("text_projection")->forward(out.at("text.pooled"));
  for (const std::string side : {"image", "text"}) out[side + ".embed"] = unit_rows(out.at(side + ".projected"));
  out["logit_scale_exp"] = find(model.parameters(), "objective.contrast.logit_scale")->exp();
  out["logits_per_image"] = out.at("logit_scale_exp") * at::matmul(out.at("image.embed"), out.at("text.embed").t());
  out["logits_per_text"] = out.at("logits_per_image").t();
  return out;
}

TEST_P(MaskClipFull, EveryIntermediateAndLossAgrees) {
  const TensorFile file(golden_path("maskclip/micro_step.safetensors"));
  const auto found = outputs();
  expect_all(file, "output.", found, limits().output);
  for (const std::string name : {"ids_shuffle", "ids_restore", "mask"})
    EXPECT_TRUE(found.at("image." + name).equal(step_->pool.at("step.image_" + name))) << name;
  expect_all(file, "loss.", step_->model.losses(step_->inputs, step_->context).terms, limits().loss);
  for (const std::string& key : file.names()) EXPECT_TRUE(key.starts_with("output.") || key.starts_with("loss."));
  const TensorFile weights(golden_path("maskclip/micro_weights.safetensors"));
  for (const auto& buffer : step_->model.module().named_buffers()) {
    if (buffer.key() == "student.completer.positions")
      ledger_.expect_close("position table", buffer.key(), buffer.value(), stored(weights, "buffer.decoder_pos_embed"),
                           0);
  }
}

TEST_P(MaskClipFull, StoredGradientsAgree) {
  step_->model.losses(step_->inputs, step_->context).total.backward();
  const TensorFile file(golden_path("maskclip/micro_grads.safetensors"));
  const NamedTensors gradients = step_->model.exported_gradients();
  ASSERT_EQ(file.names().size(), 23u);
  for (const std::string& key : file.names()) {
    const at::Tensor expected = stored(file, key), *found = find(gradients, key.substr(5));
    ASSERT_NE(found, nullptr) << key;
    const double scale = is_double() ? std::max(1.0, norm_of(expected)) : norm_of(expected);
    ledger_.expect("gradients", key, deviation(*found, expected) / scale, limits().gradient);
  }
}

TEST_P(MaskClipFull, EachTermHasItsOwnGradient) {
  for (const auto& [term, norms] : step_json().at("gradient_norms_of_each_term").items()) {
    step_->model.module().zero_grad();
    const Step step = step_->model.look(step_->inputs, step_->context);
    at::Tensor loss;
    if (term == "L_Dist") {
      loss = step_->model.distill->losses(step).total;
      step_->model.distill->forget();
    } else if (term == "L_MLM") {
      loss = step_->model.words->loss(step_->inputs.ids, step_->inputs.words);
    } else {
      const auto projection = [&](const char* name) {
        return step_->model.contrast->named_children()[name]->as<LinearImpl>();
      };
      const ContrastLosses both = contrastive_losses(
          projection("vision_projection")->forward(step.clean.latents.select(1, 0)),
          projection("text_projection")->forward(step_->model.text->tower->forward(step_->inputs.ids)),
          *find(step_->model.parameters(), "objective.contrast.logit_scale"));
      loss = term == "L_I" ? both.image : both.text;
    }
    loss.backward();
    std::set<std::string> compared;
    for (const auto& [name, gradient] : step_->model.exported_gradients()) {
      if (!norms.contains(name)) {
        EXPECT_EQ(norm_of(gradient), 0) << term << ": " << name;
        continue;
      }
      compared.insert(name);
      const double wanted = norms.at(name);
      ledger_.expect("norms of each term's gradient", term + " " + name,
                     std::abs(norm_of(gradient) - wanted) / (is_double() ? std::max(1.0, wanted) : wanted),
                     is_double() ? limits().gradient : 3e-5);  // no limit is stated for single terms in float32
    }
    EXPECT_EQ(compared.size(), norms.size()) << term;
  }
}

TEST_P(MaskClipFull, TheStepMovesWeightsTeacherAndCentreAsStored) {
  const Json& hyper = step_json().at("single_step_hyper_parameters");
  const TensorFile file(golden_path("maskclip/micro_after_step.safetensors"));
  MaskClipModel& model = step_->model;
  AdamW optimizer(model.parameters(), {.weight_decay = hyper.at("wd"),
                                       .beta1 = hyper.at("betas")[0],
                                       .beta2 = hyper.at("betas")[1],
                                       .eps = hyper.at("eps"),
                                       .clip = hyper.at("clip_per_tensor")});
  model.losses(step_->inputs, step_->context).total.backward();
  model.before_update(step_->context);
  optimizer.step(hyper.at("lr"));
  model.after_step(step_->context);

  NamedTensors found;
  for (const auto& [name, tensor] : model.exported()) found.emplace_back("student." + name, tensor);
  for (const auto& item : model.exported_teacher()) found.push_back(item);
  found.emplace_back("center", *find(model.state(), "normalize.center"));
  NamedTensors moments;
  for (const char* kind : {"exp_avg", "exp_avg_sq"}) {
    NamedTensors own;
    for (const auto& [name, tensor] : optimizer.state()) {
      if (name.ends_with(text(".", kind))) own.emplace_back(name.substr(0, name.rfind('.')), tensor);
    }
    for (const auto& [name, tensor] : export_weights(own, maskclip_names(model.config, "")))
      found.emplace_back(text("adamw.", kind, ".", name), tensor);
  }
  const double limit = is_double() ? limits().output : limits().run_parameter;
  for (const std::string& key : file.names()) {
    const at::Tensor expected = stored(file, key), *mine = find(found, key);
    ASSERT_NE(mine, nullptr) << key;
    const double scale = is_double() ? std::max(1.0, norm_of(expected)) : 1.0;
    ledger_.expect(key.starts_with("adamw.") ? "moments" : "after the step", key,
                   deviation(without_key_bias(key, *mine), without_key_bias(key, expected)) / scale, limit);
  }
  if (!is_double()) return;
  const Json& wanted = step_json().at("variants").at("full");
  expect_checksums(ledger_, "student's checksums", model.exported(), wanted.at("after_step.student"), limit, false,
                   true);
  expect_teacher(ledger_, model, wanted.at("after_step.teacher"), limit, false);
  expect_checksums(ledger_, "centre's checksum", {{"center", *find(model.state(), "normalize.center")}},
                   {{"center", wanted.at("after_step.center")}}, limit, false, true);
}

TEST_P(MaskClipFull, AStepWithoutAnyChosenWordHasNoWordLossAndNoNaN) {
  step_->inputs.words = {.ids = step_->inputs.ids, .action = at::zeros_like(step_->inputs.words.action)};
  const MaskClipLosses losses = step_->model.losses(step_->inputs, step_->context);
  losses.total.backward();
  for (const auto& [term, value] : step_json().at("no_token_selected").items())
    ledger_.expect("losses", term, std::abs(losses.terms.at(term).item<double>() - value.get<double>()), limits().loss);
  for (const auto& parameter : step_->model.words->parameters()) EXPECT_EQ(norm_of(parameter.grad()), 0);
  EXPECT_TRUE(std::isfinite(global_norm(step_->model)));
}

// What the terms become when one thing is wrong: ours must be none of them.
TEST_P(MaskClipFull, NoneOfTheListedMistakesIsMade) {
  const Json mistakes = golden_json("maskclip/micro_mistakes.json");
  std::map<std::string, double> found;
  const MaskClipLosses losses = step_->model.losses(step_->inputs, step_->context);
  losses.total.backward();
  for (const auto& [term, value] : losses.terms) found[term] = value.item<double>();
  const auto distance = [&](const Json& row) {
    double largest_difference = 0;
    for (const auto& [term, value] : found)
      largest_difference = std::max(largest_difference, std::abs(value - row.at(term).get<double>()));
    return largest_difference;
  };
  ledger_.expect("from the right terms", "all", distance(mistakes.at("right")), limits().loss);
  EXPECT_NEAR(global_norm(step_->model), mistakes.at("right").at("grad_norm"), 1e-3);
  EXPECT_EQ(mistakes.at("mistakes").size(), 29u);
  for (const auto& [name, row] : mistakes.at("mistakes").items()) {
    EXPECT_GT(distance(row), 0.5 * row.at("largest_change_of_a_term").get<double>()) << name;
    EXPECT_GT(row.at("largest_change_of_a_term").get<double>(), 2 * limits().loss) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Micro, MaskClipFull, ::testing::Values(at::kDouble, at::kFloat),
                         [](const auto& each) { return name_of(each.param); });

}  // namespace
}  // namespace lacuna
