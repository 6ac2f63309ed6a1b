// Teachers that are files with a grid of their own: frozen ViTs and BEiT v2's tokenizer.

#include "base/error.h"
#include "base/join.h"
#include "mim/teacher.h"
#include "nn/backbone.h"
#include "nn/frozen_vit.h"
#include "nn/vqkd.h"

namespace lacuna {
namespace {

OpenAs open_as(const TeacherConfig& config) {
  OpenAs out{.image_side = config.image_side, .positions = config.resize, .biases = config.bias_resize};
  switch (config.activation) {
    case TeacherActivation::kOwn:
      break;
    case TeacherActivation::kGelu:
      out.activation = Activation::kGelu;
      break;
    case TeacherActivation::kGeluTanh:
      out.activation = Activation::kGeluTanh;
      break;
    case TeacherActivation::kQuickGelu:
      out.activation = Activation::kQuickGelu;
      break;
  }
  return out;
}

const char* activation_word(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "GELU";
    case Activation::kGeluTanh:
      return "GELU (tanh)";
    case Activation::kQuickGelu:
      return "QuickGELU";
    case Activation::kSwiGlu:
      return "SwiGLU";
  }
  return "";
}

class FrozenTeacher : public Teacher {
 public:
  FrozenTeacher(const TeacherConfig& config, const StudentConfig& student)
      : config_(config), frozen_(naming("teacher", [&] { return open_frozen_vit(config.path, open_as(config)); })) {
    const int64_t channels = frozen_.vit->config().channels;
    check(channels == 3 || channels == student.spectrum, "teacher: ", config_.path.string(), " sees ", channels,
          " channels, and the data give ",
          student.spectrum > 0 ? text(student.spectrum, " or red, green and blue") : "3", "; set data.bands");
    check(config_.pixels == TeacherPixels::kOwn || (channels == 3) == (student.spectrum == 0),
          "teacher.pixels: the student's normalisation is of ", student.spectrum, " channels, the teacher sees ",
          channels, "; use own");
    if (config_.pixels == TeacherPixels::kStudent) frozen_.stats = student.stats;
    const bool projects = !frozen_.projection.is_empty();
    check(config_.kind != TeacherKind::kClip || projects, "teacher: ", config_.path.string(), " is a ", frozen_.family,
          " without a projection, not a CLIP; use teacher.kind=vit");
    if (config_.layer == TeacherLayer::kUsual)
      config_.layer = projects ? TeacherLayer::kProjected : TeacherLayer::kNormed;
    check(projects || !wants_projection(), "teacher.layer: ", config_.path.string(), " is a ", frozen_.family,
          " without a projection; use normed or last_block");
    check(config_.top_blocks <= frozen_.vit->config().depth, "teacher.top_blocks: ", config_.top_blocks, ", but ",
          config_.path.string(), " has ", frozen_.vit->config().depth, " blocks");
  }

  ViewSpec view() const override {
    const VitConfig& vit = frozen_.vit->config();
    return {.side = static_cast<int>(vit.image_side),
            .kernel = frozen_.kernel,
            .stats = frozen_.stats,
            .spectrum = vit.channels == 3 ? 0 : static_cast<int>(vit.channels)};
  }
  int64_t grid() const override { return frozen_.vit->config().grid(); }
  int64_t patch_side() const override { return frozen_.vit->config().patch_side; }
  int64_t width() const override {
    return config_.top_blocks == 0 && wants_projection() ? frozen_.projection->weight.size(0)
                                                         : frozen_.vit->config().width;
  }
  bool has_class_token() const override { return frozen_.vit->config().class_token; }
  bool can_guide() const override { return has_class_token(); }

  std::string describe() const override {
    const VitConfig& v = frozen_.vit->config();
    return text(frozen_.family, " ", frozen_.path.string(), ": width ", v.width, ", ", v.depth, " blocks, ", v.heads,
                " heads, ", activation_word(v.activation), ", input ", v.image_side, " px (",
                name_of(kKernels, frozen_.kernel), "), patches of ", v.patch_side, " px (grid ", v.grid(), " x ",
                v.grid(), "), targets of width ", width(), ", mean ", joined(frozen_.stats.mean, " "), ", std ",
                joined(frozen_.stats.std, " "));
  }

  // Under no-grad, not inference mode: inference tensors cannot take part in a loss.
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    const int64_t first = frozen_.vit->config().depth - config_.top_blocks;
    Observation out;
    at::Tensor x =
        frozen_.vit->run_blocks(images.to(dtype()), {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
          if (config_.top_blocks > 0 && block >= first) out.grids.push_back(with_class_slot(tokens));
        });
    if (config_.top_blocks > 0) return out;
    if (config_.layer == TeacherLayer::kNormed || config_.layer == TeacherLayer::kProjected)
      x = frozen_.vit->normalize(x);
    if (wants_projection()) x = frozen_.projection(x);
    out.grids = {with_class_slot(x)};
    return out;
  }

  at::Tensor attention(const at::Tensor& images) override {
    return frozen_.vit->class_attention(images.to(dtype())).to(at::kFloat);
  }

  void to(at::Device device, at::ScalarType dtype) override {
    frozen_.vit->to(device, dtype);
    if (frozen_.projection) frozen_.projection->to(device, dtype);
  }

 private:
  bool wants_projection() const {
    return config_.layer == TeacherLayer::kProjected || config_.layer == TeacherLayer::kRawProjected;
  }
  at::ScalarType dtype() const { return frozen_.vit->patch_embed->weight.scalar_type(); }
  at::Tensor with_class_slot(const at::Tensor& x) const {
    return has_class_token() ? x : at::cat({at::zeros_like(x.slice(1, 0, 1)), x}, 1);
  }

  TeacherConfig config_;
  FrozenVit frozen_;
};

class VqkdTeacher : public Teacher {
 public:
  explicit VqkdTeacher(const TeacherConfig& config)
      : path_(config.path.string()), vqkd_(naming("teacher", [&] { return open_vqkd(config.path).model; })) {}

  ViewSpec view() const override {
    return {.side = static_cast<int>(vqkd_->encoder->config().image_side),
            .kernel = Kernel::kBicubic,
            .stats = {.mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}}};
  }
  int64_t grid() const override { return vqkd_->encoder->config().grid(); }
  int64_t patch_side() const override { return vqkd_->encoder->config().patch_side; }
  int64_t width() const override { return vqkd_->codes(); }
  TargetForm form() const override { return TargetForm::kClasses; }
  bool has_class_token() const override { return false; }
  at::Tensor codebook() const override { return vqkd_->codebook.detach(); }
  std::string describe() const override {
    return text("VQ-KD tokenizer ", path_, ": ", width(), " codes of width ", vqkd_->codebook.size(1), ", grid ",
                grid(), " x ", grid());
  }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    const at::Tensor ids = vqkd_->ids(images.to(vqkd_->codebook.scalar_type()));  // [B,N]
    return {.grids = {class_grid(ids)}};
  }
  void to(at::Device device, at::ScalarType) override { vqkd_->to(device); }  // ties are decided in full precision

 private:
  std::string path_;
  Vqkd vqkd_;
};

}  // namespace

std::unique_ptr<Teacher> open_file_teacher(const TeacherConfig& config, const StudentConfig& student) {
  check(!config.path.empty(),
        "teacher: no weights given; set teacher=DIR, a folder with config.json and model.safetensors");
  if (config.kind == TeacherKind::kVqkd) return std::make_unique<VqkdTeacher>(config);
  return std::make_unique<FrozenTeacher>(config, student);
}

}  // namespace lacuna
