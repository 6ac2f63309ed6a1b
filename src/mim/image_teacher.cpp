// Targets made from the image on the student's own grid: pixels, histograms of gradients, classes of a discrete VAE.

#include "base/error.h"
#include "mim/hog.h"
#include "mim/pixels.h"
#include "mim/teacher.h"
#include "nn/dvae.h"

namespace lacuna {
namespace {

class ImageTeacher : public Teacher {
 public:
  explicit ImageTeacher(const StudentSides& sides) : sides_(sides) {}
  ViewSpec view() const override { return sides_.view(); }
  int64_t grid() const override { return sides_.grid(); }
  int64_t patch_side() const override { return sides_.patch_side; }
  bool has_class_token() const override { return false; }
  void to(at::Device, at::ScalarType) override {}

 protected:
  const StudentSides& sides() const { return sides_; }
  // [B,N,K] with an empty row for the class token.
  static Observation on_grid(const at::Tensor& patches) {
    return {.grids = {at::cat({at::zeros_like(patches.slice(1, 0, 1)), patches}, 1)}};
  }

 private:
  StudentSides sides_;
};

// He et al., 2021 and Xie et al., 2021: the student's own normalised pixels.
class PixelTeacher : public ImageTeacher {
 public:
  PixelTeacher(const TeacherConfig& config, const StudentSides& sides) : ImageTeacher(sides), order_(config.layout) {}
  int64_t width() const override { return sides().channels() * patch_side() * patch_side(); }
  std::string describe() const override { return text("pixels of patches of ", patch_side(), " px"); }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    return on_grid(patch_pixels(images, patch_side(), order_));
  }

 private:
  PixelOrder order_;
};

// Wei et al., 2021. Scale and offset of the pixels cancel in the histograms, but rounding moves components that are
// exactly zero across the edge of a bin, so that the view is of integers from 0 to 255.
class HogTeacher : public ImageTeacher {
 public:
  HogTeacher(const TeacherConfig& config, const StudentSides& sides) : ImageTeacher(sides), config_(config) {
    check(sides.patch_side % config.hog_cell == 0, "teacher.hog_cell: cells of ", config.hog_cell,
          " px do not tile patches of ", sides.patch_side, " px; use a divisor of it");
  }
  ViewSpec view() const override {
    ViewSpec spec = ImageTeacher::view();
    spec.stats = {.mean = {0, 0, 0}, .std = {1.0 / 255, 1.0 / 255, 1.0 / 255}};
    spec.spectrum = 0;
    return spec;
  }
  int64_t width() const override {
    const int64_t cells = patch_side() / config_.hog_cell;
    return 3 * config_.hog_bins * cells * cells;
  }
  std::string describe() const override {
    return text("histograms of gradients, ", config_.hog_bins, " bins, cells of ", config_.hog_cell, " px");
  }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    const at::Tensor cells = hog(images.round(), config_.hog_bins, config_.hog_cell, config_.hog_window);
    return on_grid(hog_tokens(cells, patch_side(), config_.hog_cell));
  }

 private:
  TeacherConfig config_;
};

// Ramesh et al., 2021: the class of each 8 x 8 block, at a size where blocks and the student's patches coincide.
class DvaeTeacher : public ImageTeacher {
 public:
  DvaeTeacher(const TeacherConfig& config, const StudentSides& sides)
      : ImageTeacher(sides), path_(config.path.string()) {
    check(!config.path.empty(), "teacher: no weights given; set teacher=FILE, the dVAE's encoder as safetensors");
    dvae_ = naming("teacher", [&] { return open_dvae(config.path); });
    side_ = sides.grid() * dvae_->config().patch_side();
    check(!config.image_side || *config.image_side == side_, "teacher.image_side: ", config.image_side.value_or(0),
          " px give a grid of ", config.image_side.value_or(0) / dvae_->config().patch_side(),
          ", but the student's is ", sides.grid(), "; leave it auto, which is ", side_, " px");
  }
  ViewSpec view() const override {
    return {
        .side = static_cast<int>(side_), .kernel = Kernel::kLanczos, .stats = {.mean = {0, 0, 0}, .std = {1, 1, 1}}};
  }
  int64_t width() const override { return dvae_->config().vocabulary; }
  TargetForm form() const override { return TargetForm::kClasses; }
  std::string describe() const override {
    return text("discrete VAE ", path_, ": ", width(), " classes, input ", side_, " px (grid ", grid(), " x ", grid(),
                ")");
  }
  Observation observe(const at::Tensor& images, const MaskPlan&, PathDrop*) override {
    const at::NoGradGuard no_grad;
    return {.grids = {class_grid(dvae_->ids(images))}};
  }
  void to(at::Device device, at::ScalarType) override { dvae_->to(device); }  // ties are decided in full precision

 private:
  std::string path_;
  DvaeEncoder dvae_{nullptr};
  int64_t side_ = 0;
};

}  // namespace

std::unique_ptr<Teacher> make_image_teacher(const TeacherConfig& config, const StudentSides& sides) {
  switch (config.kind) {
    case TeacherKind::kPixels:
      return std::make_unique<PixelTeacher>(config, sides);
    case TeacherKind::kHog:
      return std::make_unique<HogTeacher>(config, sides);
    case TeacherKind::kDvae:
      return std::make_unique<DvaeTeacher>(config, sides);
    default:
      break;
  }
  invariant(false, "not a target made from the image");
  return nullptr;
}

}  // namespace lacuna
