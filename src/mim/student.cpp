#include "mim/student.h"

#include "base/error.h"
#include "nn/weights/vit_fields.h"

namespace lacuna {

void AggregationConfig::fields(Fields& f) {
  f.add("layer", layer,
        {.help = "block whose patches join the final class token; 0 is off", .unit = "blocks", .min = 0, .max = 1024});
  f.add("depth", depth, {.help = "blocks of the aggregation", .unit = "blocks", .min = 1, .max = 64});
}

void StudentConfig::fields(Fields& f) {
  f.add("mode", mode, kStudentModes, {.help = "what the encoder sees of hidden patches"});
  f.add("init", init, kInitSchemes, {.help = "how weights start"});
  f.add("image_side", image_side,
        {.help = "side of the student's input; auto follows the teacher, else 224",
         .unit = "pixels",
         .min = 1,
         .max = 8192,
         .aliases = {"image_size"}});
  f.add("patch_side", patch_side,
        {.help = "side of a patch; auto follows the teacher, else 16",
         .unit = "pixels",
         .min = 1,
         .max = 512,
         .aliases = {"patch_size"}});
  vit_fields(f, vit);
  f.add("mean", stats.mean, {.help = "mean of the student's pixels, scaled to [0, 1]"});
  f.add("std", stats.std, {.help = "standard deviation of the student's pixels", .min = 0, .above_min = true});
  f.add("kernel", kernel, kKernels, {.help = "filter that resizes crops to the input"});
  f.table("aggregation", aggregation, {.help = "a second prediction through the class token"});
}

StudentImpl::StudentImpl(const StudentConfig& config, const VitConfig& vit_config, const CompleterConfig& completer_in)
    : vit(register_module("vit", Vit(vit_config))), aggregation_(config.aggregation) {
  const bool paints = config.mode == StudentMode::kPaint;
  if (paints) mask_token = register_parameter("mask_token", torch::empty({1, 1, vit_config.width}));
  completer = build_completer(completer_in, vit_config.grid(), vit_config.width, paints);
  if (completer) register_module("completer", completer);
  if (aggregation_.layer == 0) return;
  check(paints, "student.aggregation: it predicts masked patches from mask tokens; set student.mode=paint");
  check(!completer, "student.aggregation: the head reads its tokens and the encoder's alike; set completer.kind=none");
  check(aggregation_.layer <= vit_config.depth, "student.aggregation.layer: ", aggregation_.layer,
        ", but the student has ", vit_config.depth, " blocks");
  check(vit_config.relative_bias != RelativeBiasKind::kPerBlock,
        "student.aggregation: its blocks use the shared relative bias; set student.relative_bias=shared or none");
  check(vit_config.registers == 0 && !vit_config.rotary_grid,
        "student.aggregation: its blocks have neither registers nor rotary positions; set student.registers=0 and "
        "student.rotary_grid=auto");
  aggregation_blocks = register_module("aggregation_blocks", torch::nn::ModuleList());
  for (int64_t i = 0; i < aggregation_.depth; ++i) aggregation_blocks->push_back(Block(block_config(vit_config)));
}

at::Tensor StudentImpl::painted_patches(const at::Tensor& images, const MaskPlan& plan) {
  const at::Tensor patches = vit->patches(images);
  const at::Tensor hidden = at::zeros({plan.batch * plan.patches, 1}, patches.options().dtype(at::kBool))
                                .index_fill(0, plan.masked, true)
                                .view({plan.batch, plan.patches, 1});
  return at::where(hidden, mask_token.to(patches.scalar_type()), patches);
}

Encoded StudentImpl::forward(const at::Tensor& images, const MaskPlan& plan, bool with_masked, PathDrop* drop) {
  const bool hides = plan.masked.numel() > 0;
  at::Tensor early;  // patches of the aggregation's layer
  const auto tap = [&](int64_t block, const at::Tensor& x) {
    if (aggregation_.layer > 0 && block + 1 == aggregation_.layer) early = x.slice(1, 1);
  };
  Encoded out;
  at::Tensor last;
  if (mask_token.defined()) {
    last = vit->run_patches(hides ? painted_patches(images, plan) : vit->patches(images), {}, drop, tap);
    out.latents = vit->normalize(last);
    out.tokens = split_tokens(out.latents, plan);
  } else {
    out.latents = vit->encode(images, hides ? plan.visible : at::Tensor(), drop);
    out.tokens = {.cls = out.latents.slice(1, 0, 1), .visible = out.latents.slice(1, 1), .masked = {}};
  }
  if (completer) out.tokens = completer->complete(out.tokens, plan, with_masked, drop);
  if (!early.defined()) return out;
  at::Tensor x = at::cat({last.slice(1, 0, 1), early}, 1);
  const at::Tensor bias = vit->relative_bias(0, plan.batch);
  for (const auto& block : *aggregation_blocks) x = block->as<BlockImpl>()->forward(x, 0, nullptr, bias);
  out.aggregated = split_tokens(vit->normalize(x), plan);
  return out;
}

}  // namespace lacuna
