#pragma once
// The network that is pretrained: a ViT that sees the visible patches, or all with mask tokens painted over the hidden
// ones, and a completer that imagines the rest.

#include <optional>
#include <string>

#include "mim/completer.h"
#include "nn/backbone.h"
#include "nn/init.h"

namespace lacuna {

enum class StudentMode { kDrop, kPaint };
inline constexpr Named<StudentMode> kStudentModes[] = {
    {StudentMode::kDrop, "drop", "the encoder sees the visible patches only"},
    {StudentMode::kPaint, "paint", "the encoder sees all patches, hidden ones replaced by a mask token"}};

// BEiT v2's second prediction: the final class token with the patches of an early block goes through blocks of its own,
// so that the class token must gather the image (Peng et al., 2022, section 2.3).
struct AggregationConfig {
  int64_t layer = 0;  // the early patches are the output of this block, counted from 1; 0 switches it off
  int64_t depth = 2;

  void fields(Fields& f);
};

// The ViT of the student as a user configures it; sides left open follow the teacher.
struct StudentConfig {
  VitConfig vit;
  StudentMode mode = StudentMode::kDrop;
  InitScheme init = InitScheme::kCae;
  AggregationConfig aggregation;
  std::optional<int64_t> image_side;
  std::optional<int64_t> patch_side;
  PixelStats stats = kImageNetStats;
  Kernel kernel = Kernel::kBicubic;
  int64_t spectrum = 0;  // channels of the samples' spectrum that it sees, a fact of the data; 0: red, green and blue

  void fields(Fields& f);
};

// What one pass of the student makes of a view.
struct Encoded {
  at::Tensor latents;                // [B,1+T,D] after the encoder's final norm; T visible or all patches
  Tokens tokens;                     // what heads read, of the completer's width
  std::optional<Tokens> aggregated;  // a second set that predicts the same targets
};

class StudentImpl : public torch::nn::Module {
 public:
  StudentImpl(const StudentConfig& config, const VitConfig& vit_config, const CompleterConfig& completer_config);

  // Changing the pixels of masked patches does not change the result. `tokens.masked` is filled when asked for.
  Encoded forward(const at::Tensor& images, const MaskPlan& plan, bool with_masked, PathDrop* drop);

  int64_t width() const { return completer ? completer->width() : vit->config().width; }  // of `tokens`
  bool predicts_masked() const { return mask_token.defined() || completer; }

  Vit vit;
  at::Tensor mask_token;                              // [1,1,D]; only when painting
  torch::nn::ModuleList aggregation_blocks{nullptr};  // null without aggregation
  std::shared_ptr<Completer> completer;               // null without one

 private:
  at::Tensor painted_patches(const at::Tensor& images, const MaskPlan& plan);  // [B,N,D]

  AggregationConfig aggregation_;
};
TORCH_MODULE(Student);

}  // namespace lacuna
