// CAE v2 (Zhang et al., 2022): the encoder sees the visible patches, a cross-attention regressor makes the masked
// latents, one head aligns class, visible and masked latents with the projected tokens of a frozen CLIP. Settings are
// those of the official scripts (cae.md sections 1, 2, 3 and 5); what they leave open is said here.

#include "methods/presets.h"

namespace lacuna {
namespace {

struct SizeSettings {
  std::string_view size;
  double mask_ratio;
  int64_t heads;  // of encoder and regressor; 12 up to base, unlike timm's 3 and 6
  int64_t regressor_depth;
  std::optional<int64_t> regressor_width;
  double layer_scale;
};

// tiny 30, small 49, base 98 of 196 patches. Nothing is published for large: base's ratio and depth, CAE's layer scale.
// micro is ours, for demos and tests.
constexpr SizeSettings kSizes[] = {{"micro", 0.25, 3, 1, std::nullopt, 0.1},
                                   {"tiny", 30.0 / 196.0, 12, 1, 96, 0.1},
                                   {"small", 49.0 / 196.0, 12, 1, std::nullopt, 0.1},
                                   {"base", 98.0 / 196.0, 12, 4, std::nullopt, 0.1},
                                   {"large", 98.0 / 196.0, 16, 4, std::nullopt, 1e-5}};

}  // namespace

void preset_cae_v2(std::string_view size, Recipe& recipe) {
  Composition& c = recipe.composition;
  for (const SizeSettings& s : kSizes) {
    if (s.size != size) continue;
    c.mask = {.kind = MaskKind::kBlock, .ratio = s.mask_ratio};
    c.student.vit.heads = s.heads;
    c.student.vit.layer_scale = s.layer_scale;
    c.completer = {.kind = CompleterKind::kRegressor,
                   .depth = s.regressor_depth,
                   .width = s.regressor_width,
                   .heads = s.heads,
                   .layer_scale = s.layer_scale};
  }
  c.completer.final_norm = false;
  c.student.vit.qkv_bias = QkvBias::kQueryValue;
  c.student.vit.positions = Positions::kSinCos;
  c.student.vit.drop_path = 0.1;
  c.objectives = {{.name = "target",
                   .distill = {.normalize = NormalizeKind::kUnit, .regions = {.cls = 1, .visible = 1, .masked = 1}}}};
  recipe.train.base_lr = 1.5e-3 * 256 / 2048;
  recipe.train.warmup = {100.0 * 10 / 300, Duration::Unit::kPercent};
  recipe.augment = {.crop_min = 0.4, .crop_max = 1.0, .flip = 0.5, .color_jitter = 0.4};
}

}  // namespace lacuna
