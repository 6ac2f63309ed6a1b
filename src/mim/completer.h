#pragma once
// From the encoder's latents to the tokens that heads read: at the completer's width, with the patches that the encoder
// was not shown filled in.

#include <memory>
#include <optional>

#include "mim/tokens.h"
#include "nn/path_drop.h"

namespace lacuna {

enum class CompleterKind { kNone, kRegressor, kDecoder, kPrompting };
inline constexpr Named<CompleterKind> kCompleterKinds[] = {
    {CompleterKind::kNone, "none", "the encoder's tokens as they are"},
    {CompleterKind::kRegressor, "regressor", "cross-attention from mask tokens to visible latents and each other"},
    {CompleterKind::kDecoder, "decoder", "self-attention over visible latents and mask tokens"},
    {CompleterKind::kPrompting, "prompting", "mask tokens look at visible latents, which stay as they are"}};

struct CompleterConfig {
  CompleterKind kind = CompleterKind::kNone;
  int64_t depth = 4;
  std::optional<int64_t> width;
  int64_t heads = 12;
  std::optional<double> layer_scale;
  double drop_path = 0;
  bool final_norm = true;

  void fields(Fields& f);
};

class Completer : public torch::nn::Module {
 public:
  virtual int64_t width() const = 0;

  // `encoded` are the encoder's class and visible latents, and its masked ones if it painted them. Returns all that it
  // can; `masked` stays undefined where nobody asked for it (`with_masked`) and it would cost something.
  virtual Tokens complete(const Tokens& encoded, const MaskPlan& plan, bool with_masked, PathDrop* drop) = 0;

  // Latents [B,T,D] as `complete` would make visible ones comparable with its masked ones: a change of width, if any.
  virtual at::Tensor adapt(const at::Tensor& latents) { return latents; }
  virtual bool adapts() const { return false; }  // whether it changes the width, to `width()`
};

// Null for kNone. `painted`: the encoder sees mask tokens and gives masked latents itself. Throws Error for what does
// not fit together.
std::shared_ptr<Completer> build_completer(const CompleterConfig& config, int64_t grid, int64_t encoder_width,
                                           bool painted);

}  // namespace lacuna
