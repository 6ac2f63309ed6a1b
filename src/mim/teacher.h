#pragma once
// What the student is to predict. A teacher is never part of the trained module tree.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/view/view.h"
#include "mim/head.h"
#include "mim/loss.h"
#include "mim/pixels.h"
#include "mim/student.h"
#include "nn/position.h"
#include "nn/relative_bias.h"
#include "train/ramp.h"
#include "train/task.h"

namespace lacuna {

enum class TeacherKind { kClip, kVit, kDvae, kVqkd, kPixels, kHog, kMomentum, kSelf, kRandom };
inline constexpr Named<TeacherKind> kTeacherKinds[] = {
    {TeacherKind::kClip, "clip", "the vision tower of a CLIP, frozen"},
    {TeacherKind::kVit, "vit", "a frozen ViT of any family that can be read, or an earlier export"},
    {TeacherKind::kDvae, "dvae", "classes of DALL-E's discrete VAE"},
    {TeacherKind::kVqkd, "vqkd", "codes of a vector-quantised tokenizer distilled from features"},
    {TeacherKind::kPixels, "pixels", "the patch's pixels"},
    {TeacherKind::kHog, "hog", "histograms of oriented gradients"},
    {TeacherKind::kMomentum, "momentum", "a moving average of the student"},
    {TeacherKind::kSelf, "self", "the student's own weights of this moment"},
    {TeacherKind::kRandom, "random", "a frozen untrained twin of the student"}};

// Which features of a ViT are taken.
enum class TeacherLayer { kUsual, kProjected, kNormed, kLastBlock, kRawProjected };
inline constexpr Named<TeacherLayer> kTeacherLayers[] = {
    {TeacherLayer::kUsual, "usual", "projected for a CLIP, normed for others"},
    {TeacherLayer::kProjected, "projected", "final norm and projection on every token"},
    {TeacherLayer::kNormed, "normed", "final norm on every token"},
    {TeacherLayer::kLastBlock, "last_block", "before the final norm"},
    {TeacherLayer::kRawProjected, "raw_projected", "projection without the final norm"}};

enum class TeacherPixels { kOwn, kStudent };
inline constexpr Named<TeacherPixels> kTeacherPixels[] = {
    {TeacherPixels::kOwn, "own", "normalised as the teacher was trained"},
    {TeacherPixels::kStudent, "student", "normalised as the student's"}};

inline constexpr Named<PositionResize> kPositionResizes[] = {
    {PositionResize::kByScale, "by_scale", "as DINO and BEiT v2: coordinates by (G' + 0.1) / G"},
    {PositionResize::kBySize, "by_size", "as transformers: coordinates by the ratio of the grids"},
    {PositionResize::kAntialiased, "antialiased", "as timm and OpenCLIP: bicubic with antialiasing"},
    {PositionResize::kBilinear, "bilinear", "bilinear with antialiasing"}};

inline constexpr Named<BiasResize> kBiasResizes[] = {
    {BiasResize::kSpline, "spline", "as BEiT: a spline over offsets that spread geometrically"},
    {BiasResize::kLinear, "linear", "as timm: linear over those offsets"},
    {BiasResize::kBicubic, "bicubic", "as timm's simple function"},
    {BiasResize::kBilinear, "bilinear", "as transformers"}};

// The activation of a frozen network where its configuration is wrong.
enum class TeacherActivation { kOwn, kGelu, kGeluTanh, kQuickGelu };
inline constexpr Named<TeacherActivation> kTeacherActivations[] = {
    {TeacherActivation::kOwn, "own", "as its configuration says"},
    {TeacherActivation::kGelu, "gelu", "exact"},
    {TeacherActivation::kGeluTanh, "gelu_tanh", "the tanh approximation"},
    {TeacherActivation::kQuickGelu, "quick_gelu", "x sigmoid(1.702 x), as OpenAI's CLIP"}};

// What a teacher made of the student looks at: the whole image, or only the patches hidden from the student (CAE).
enum class TeacherSight { kAll, kMasked };
inline constexpr Named<TeacherSight> kTeacherSights[] = {{TeacherSight::kAll, "all", "the intact image"},
                                                         {TeacherSight::kMasked, "masked", "the hidden patches"}};

// When a momentum teacher follows: once the weights have moved, or inside the step that uses it, after its own pass
// (the first release of CAE's code: with momentum 0 it lags one step behind).
enum class MomentumUpdate { kAfterStep, kBeforeUpdate };
inline constexpr Named<MomentumUpdate> kMomentumUpdates[] = {{MomentumUpdate::kAfterStep, "after_step"},
                                                             {MomentumUpdate::kBeforeUpdate, "before_update"}};

struct TeacherConfig {
  TeacherKind kind = TeacherKind::kClip;
  std::filesystem::path path;
  TeacherLayer layer = TeacherLayer::kUsual;
  int64_t top_blocks = 0;
  TeacherPixels pixels = TeacherPixels::kOwn;
  std::optional<int64_t> image_side;
  PositionResize resize = PositionResize::kByScale;
  BiasResize bias_resize = BiasResize::kSpline;
  TeacherActivation activation = TeacherActivation::kOwn;
  TeacherSight sees = TeacherSight::kAll;
  Ramp momentum{.start = 0.996};
  MomentumUpdate update = MomentumUpdate::kAfterStep;
  bool drop_path = false;
  bool with_head = false;
  PixelOrder layout = PixelOrder::kRowColumnColor;
  int64_t hog_bins = 9;
  int64_t hog_cell = 8;
  int64_t hog_window = 0;

  void fields(Fields& f);
};

// What a teacher says of a batch, before normalisation.
struct Observation {
  // Each [B,1+N,K], class token first (zeros where the teacher has none), patches in raster order: the one feature
  // map, or the chosen blocks' outputs, which are normalised one by one and averaged. Classes are [B,1+N,1] int64.
  std::vector<at::Tensor> grids;
  bool of_masked = false;  // the grids hold the class token and the hidden patches only, [B,1+M,K]
};

class Teacher {
 public:
  virtual ~Teacher() = default;
  virtual ViewSpec view() const = 0;
  virtual int64_t grid() const = 0;        // must equal the student's
  virtual int64_t patch_side() const = 0;  // that a student without an opinion takes
  virtual int64_t width() const = 0;       // K: channels, or number of classes
  virtual TargetForm form() const { return TargetForm::kFeatures; }
  virtual bool has_class_token() const { return true; }
  virtual bool sees_masked_only() const { return false; }
  virtual std::string describe() const = 0;

  // For the teacher's own view [B,I,S,S]. No gradient.
  virtual Observation observe(const at::Tensor& images, const MaskPlan& plan, PathDrop* drop) = 0;

  // Importance of each patch by the class token's attention, [B,N]; undefined where the teacher cannot tell.
  virtual bool can_guide() const { return false; }
  virtual at::Tensor attention(const at::Tensor& /*images*/) { return {}; }

  virtual at::Tensor codebook() const { return {}; }  // [K,C] unit rows of a tokenizer with one

  virtual void to(at::Device device, at::ScalarType dtype) = 0;
  virtual void begin(uint64_t /*seed*/) {}           // the student has its first weights
  virtual void before_update(const StepContext&) {}  // its targets of this step have been made, the weights not moved
  virtual void after_step(const StepContext&) {}     // the weights have moved
  virtual NamedTensors state() { return {}; }        // what a resume needs
};

// Teachers come in three kinds: files that bring a grid of their own, targets that take the student's, and twins of the
// student.
enum class TeacherOrigin { kFile, kImage, kTwin };
TeacherOrigin origin_of(TeacherKind kind);

struct StudentSides {
  int64_t image_side = 224, patch_side = 16;
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  int64_t spectrum = 0;  // see StudentConfig

  int64_t grid() const { return image_side / patch_side; }
  int64_t channels() const { return spectrum > 0 ? spectrum : 3; }
  ViewSpec view() const {
    return {
        .side = static_cast<int>(image_side), .kernel = kernel, .stats = stats, .spectrum = static_cast<int>(spectrum)};
  }
};

// Classes of the patches [B,N] as an observation's grid, [B,1+N,1]; the class token's is -1.
at::Tensor class_grid(const at::Tensor& ids);

// Each reads and checks; throws Error that says what does not fit.
std::unique_ptr<Teacher> open_file_teacher(const TeacherConfig& config, const StudentConfig& student);
std::unique_ptr<Teacher> make_image_teacher(const TeacherConfig& config, const StudentSides& sides);

// `head` is the objective's own when the targets are what it makes of the twin's tokens (prototypes), else null.
std::unique_ptr<Teacher> make_twin_teacher(const TeacherConfig& config, const StudentSides& sides, Student student,
                                           std::shared_ptr<Head> head, const HeadConfig& head_config);

}  // namespace lacuna
