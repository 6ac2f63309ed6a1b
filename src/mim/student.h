#pragma once
// The network that is pretrained: a ViT that sees the visible patches, and a completer that imagines the rest.

#include <optional>
#include <string>

#include "mim/completer.h"
#include "nn/backbone.h"

namespace lacuna {

// The ViT of the student as a user configures it; sides left open follow the teacher.
struct StudentConfig {
  VitConfig vit;
  std::optional<int64_t> image_side;
  std::optional<int64_t> patch_side;
  PixelStats stats = kImageNetStats;

  void fields(Fields& f);
};

class StudentImpl : public torch::nn::Module {
 public:
  StudentImpl(const VitConfig& vit_config, const CompleterConfig& completer_config);

  // Encodes the visible patches and brings them to width(); `masked` is filled only when asked for. Changing the pixels
  // of masked patches does not change the result.
  Tokens forward(const at::Tensor& images, const MaskPlan& plan, bool with_masked, PathDrop* drop);

  int64_t width() const;  // of the tokens that forward returns
  bool can_complete() const { return !regressor.is_empty(); }

  Vit vit;
  Regressor regressor{nullptr};  // null without completer
};
TORCH_MODULE(Student);

}  // namespace lacuna
