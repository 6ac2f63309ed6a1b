#pragma once
// From the student's tokens of a region to predictions of the target.

#include <memory>
#include <optional>

#include "base/config.h"
#include "mim/tokens.h"
#include "nn/layers.h"
#include "nn/path_drop.h"

namespace lacuna {

enum class HeadKind { kLinear, kMlp, kDecoder, kProjection, kDictionary, kIdentity };
inline constexpr Named<HeadKind> kHeadKinds[] = {
    {HeadKind::kLinear, "linear", "one linear map"},
    {HeadKind::kMlp, "mlp", "linear maps with GELU between"},
    {HeadKind::kDecoder, "decoder", "self-attention among the region's tokens, norm, linear"},
    {HeadKind::kProjection, "projection", "MLP to a unit-length bottleneck, then weight-normed prototypes"},
    {HeadKind::kDictionary, "dictionary",
     "linear to the width of the tokenizer's codes, then cosines with its codebook"},
    {HeadKind::kIdentity, "identity", "the tokens themselves"}};

struct HeadConfig {
  HeadKind kind = HeadKind::kLinear;
  bool norm = true;
  int64_t depth = 0;   // 0 takes the kind's usual: mlp 2 layers, projection 3 layers, decoder 4 blocks
  int64_t hidden = 0;  // 0: 4 times the width, for a projection 2048
  int64_t bottleneck = 256;
  int64_t prototypes = 8192;
  bool train_gain = false;
  double temperature = 0.1;
  int64_t heads = 12;
  std::optional<double> layer_scale;
  double drop_path = 0;

  void fields(Fields& f);
};

// The tokens that a head reads. Heads that attend add positions; none sees a mask.
struct RegionTokens {
  at::Tensor tokens;  // [B,R,D]
  at::Tensor places;  // [B,R] int64, rows of the position table: class token 0, patch p 1 + p
};

class Head : public torch::nn::Module {
 public:
  virtual int64_t out() const = 0;                                             // K
  virtual at::Tensor forward(const RegionTokens& region, PathDrop* drop) = 0;  // -> [B,R,K]

  // What the last layer of a prototype head is called, "" when there is none; its gradient may be left out at first.
  virtual std::string prototype_layer() const { return ""; }
};

struct HeadSizes {
  int64_t width = 0;    // D, of the tokens
  int64_t out = 0;      // K, of the target; a projection chooses its own
  int64_t grid = 0;     // of the positions
  at::Tensor codebook;  // [K,C] unit rows, for a dictionary
};

std::shared_ptr<Head> build_head(const HeadConfig& config, const HeadSizes& sizes);

}  // namespace lacuna
