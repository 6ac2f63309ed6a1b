#include "mim/teacher.h"

#include "base/error.h"
#include "nn/clip.h"

namespace lacuna {
namespace {

class ClipTeacher : public Teacher {
 public:
  explicit ClipTeacher(const TeacherConfig& config)
      : config_(config), clip_(read_clip_config(config.path)), tower_(load_clip_vision(config.path, clip_)) {}

  ViewSpec view() const override {
    return {.side = static_cast<int>(clip_.vision.image_side), .kernel = clip_.kernel, .stats = clip_.stats};
  }
  int64_t grid() const override { return clip_.vision.grid(); }
  int64_t patch_side() const override { return clip_.vision.patch_side; }
  int64_t width() const override {
    return config_.layer == TeacherLayer::kProjected ? clip_.embed : clip_.vision.width;
  }

  std::string describe() const override {
    const VitConfig& v = clip_.vision;
    const char* activation = v.activation == Activation::kQuickGelu ? "QuickGELU"
                             : v.activation == Activation::kGelu    ? "GELU"
                                                                    : "GELU (tanh)";
    return text("CLIP vision tower ", config_.path.string(), ": width ", v.width, ", ", v.depth, " blocks, ", v.heads,
                " heads, ", activation, ", input ", v.image_side, " px, patches of ", v.patch_side, " px (grid ",
                v.grid(), " x ", v.grid(), "), targets of width ", width(), ", mean ", clip_.stats.mean[0], " ",
                clip_.stats.mean[1], " ", clip_.stats.mean[2], ", std ", clip_.stats.std[0], " ", clip_.stats.std[1],
                " ", clip_.stats.std[2]);
  }

  // Under no-grad, not inference mode: inference tensors cannot take part in a loss.
  Tokens observe(const at::Tensor& images, const MaskPlan& plan) override {
    const at::NoGradGuard no_grad;
    at::Tensor x = tower_->vit->run_blocks(images.to(tower_->projection->weight.scalar_type()), {}, nullptr, nullptr);
    if (config_.layer != TeacherLayer::kLastBlock) x = tower_->vit->norm(x);
    if (config_.layer == TeacherLayer::kProjected) x = tower_->projection(x);
    return split_tokens(x, plan);
  }

  void to(at::Device device, at::ScalarType dtype) override { tower_->to(device, dtype); }

 private:
  TeacherConfig config_;
  ClipConfig clip_;
  ClipVision tower_;
};

}  // namespace

void TeacherConfig::fields(Fields& f) {
  f.add("kind", kind, kTeacherKinds, {.help = "what makes the targets"});
  f.add("path", path,
        {.help = "folder of the teacher: config.json and model.safetensors, as save_pretrained writes them"});
  f.add("layer", layer, kTeacherLayers, {.help = "which of its features are the targets"});
}

std::unique_ptr<Teacher> open_teacher(const TeacherConfig& config) {
  check(!config.path.empty(),
        "teacher: no folder given; set teacher=DIR, a CLIP folder with config.json and model.safetensors");
  check(std::filesystem::is_directory(config.path), "teacher: ", config.path.string(),
        " is not a folder; expected a CLIP folder with config.json and model.safetensors");
  return std::make_unique<ClipTeacher>(config);
}

}  // namespace lacuna
