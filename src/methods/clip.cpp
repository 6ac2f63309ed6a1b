// CLIP (Radford et al., 2021): the class token of a vision tower against the end token of a text tower, both trained
// from scratch. Captions may name colours and sides, so neither jitter nor flips are on by default.

#include "methods/presets.h"

namespace lacuna {

void preset_clip(std::string_view size, Recipe& recipe) {
  Composition& c = recipe.composition;
  const VitConfig named = c.student.vit;
  c.mask.kind = MaskKind::kNone;
  c.student.vit = clip_vision(named, Activation::kGelu);
  c.student.stats = kClipStats;
  ContrastConfig contrast;
  contrast.text.width = std::min<int64_t>(named.width, 512);
  contrast.text.depth = size == "micro" ? 2 : 12;
  contrast.text.heads = std::max<int64_t>(1, contrast.text.width / 64);
  contrast.text.context = size == "micro" ? 40 : 77;
  contrast.text.activation = Activation::kGelu;
  contrast.embed = std::min<int64_t>(named.width, 512);
  c.objectives = {{.name = "contrast", .kind = ObjectiveKind::kContrast, .contrast = contrast}};
  recipe.train.base_lr = 5e-4;
  recipe.train.adamw = {.weight_decay = 0.2, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .clip = 1.0};
  recipe.augment = {.crop_min = 0.9, .crop_max = 1.0, .flip = 0, .color_jitter = 0};
}

}  // namespace lacuna
