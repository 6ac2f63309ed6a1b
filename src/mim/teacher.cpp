#include "mim/teacher.h"

namespace lacuna {

void TeacherConfig::fields(Fields& f) {
  f.add("kind", kind, kTeacherKinds, {.help = "what makes the targets"});
  f.add("path", path, {.help = "folder or file of the teacher's weights, or its name in the Hugging Face cache"});
  f.add("layer", layer, kTeacherLayers, {.help = "which features of a ViT are the targets"});
  f.add("top_blocks", top_blocks,
        {.help = "average of the outputs of this many last blocks instead; 0 takes `layer`", .min = 0, .max = 1024});
  f.add("pixels", pixels, kTeacherPixels, {.help = "how its pixels are normalised"});
  f.add("image_side", image_side,
        {.help = "side of its input; auto is what it was trained at; another one resizes its positions",
         .unit = "pixels",
         .min = 1,
         .max = 8192});
  f.add("resize", resize, kPositionResizes, {.help = "how its positions are resized"});
  f.add("bias_resize", bias_resize, kBiasResizes, {.help = "how its relative position tables are resized"});
  f.add("activation", activation, kTeacherActivations, {.help = "non-linearity of its MLPs"});
  f.add("sees", sees, kTeacherSights, {.help = "momentum, self, random: what of the image it is shown"});
  f.table("momentum", momentum, {.help = "momentum: the share of the old weights that is kept"});
  f.add("update", update, kMomentumUpdates, {.help = "momentum: when it follows"});
  f.add("drop_path", drop_path, {.help = "momentum, self: with the student's stochastic depth"});
  f.add("with_head", with_head,
        {.help = "momentum, self: targets are what the head makes of its tokens; always so for a projection"});
  f.add("layout", layout, kPixelOrders, {.help = "pixels: their order within a patch"});
  f.add("hog_bins", hog_bins, {.help = "hog: orientations", .min = 1, .max = 64});
  f.add("hog_cell", hog_cell, {.help = "hog: side of a cell", .unit = "pixels", .min = 1, .max = 256});
  f.add("hog_window", hog_window,
        {.help = "hog: side of a Gaussian window; 0 is none, as the official code", .unit = "pixels", .min = 0});
}

TeacherOrigin origin_of(TeacherKind kind) {
  switch (kind) {
    case TeacherKind::kClip:
    case TeacherKind::kVit:
    case TeacherKind::kVqkd:
      return TeacherOrigin::kFile;
    case TeacherKind::kDvae:
    case TeacherKind::kPixels:
    case TeacherKind::kHog:
      return TeacherOrigin::kImage;
    case TeacherKind::kMomentum:
    case TeacherKind::kSelf:
    case TeacherKind::kRandom:
      return TeacherOrigin::kTwin;
  }
  return TeacherOrigin::kFile;
}

at::Tensor class_grid(const at::Tensor& ids) {
  return at::cat({at::full({ids.size(0), 1}, -1, ids.options()), ids}, 1).unsqueeze(2);
}

}  // namespace lacuna
