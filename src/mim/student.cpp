#include "mim/student.h"

#include "base/error.h"
#include "nn/vit_fields.h"

namespace lacuna {

void StudentConfig::fields(Fields& f) {
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
}

StudentImpl::StudentImpl(const VitConfig& vit_config, const CompleterConfig& completer)
    : vit(register_module("vit", Vit(vit_config))) {
  if (completer.kind == CompleterKind::kRegressor)
    regressor = register_module("regressor", Regressor(completer, vit_config.grid(), vit_config.width));
}

int64_t StudentImpl::width() const { return regressor.is_empty() ? vit->config().width : regressor->width(); }

Tokens StudentImpl::forward(const at::Tensor& images, const MaskPlan& plan, bool with_masked, PathDrop* drop) {
  at::Tensor latents = vit->encode(images, plan.masked_count() > 0 ? plan.visible : at::Tensor(), drop);  // [B,1+V,D]
  if (can_complete()) latents = regressor->adapt(latents);
  Tokens out{.cls = latents.slice(1, 0, 1), .visible = latents.slice(1, 1), .masked = {}};
  if (!with_masked) return out;
  invariant(can_complete(), "masked latents were asked of a student without completer");
  out.masked = regressor(out.visible, plan, drop);
  return out;
}

}  // namespace lacuna
