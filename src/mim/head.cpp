#include "mim/head.h"

#include "base/error.h"
#include "nn/block.h"
#include "nn/position.h"

namespace lacuna {
namespace {

constexpr double kNormEps = 1e-6;
constexpr int64_t kMlpRatio = 4;

class IdentityHead : public Head {
 public:
  explicit IdentityHead(const HeadSizes& sizes) : out_(sizes.out) {
    check(sizes.width == sizes.out, "head: identity hands on tokens of width ", sizes.width,
          ", but the target has width ", sizes.out, "; use head.kind=linear");
  }
  int64_t out() const override { return out_; }
  at::Tensor forward(const RegionTokens& region, PathDrop*) override { return region.tokens; }

 private:
  int64_t out_;
};

class LinearHead : public Head {
 public:
  LinearHead(const HeadConfig& c, const HeadSizes& sizes)
      : proj_(register_module("proj", Linear(sizes.width, sizes.out))), out_(sizes.out) {
    if (c.norm) norm_ = register_module("norm", LayerNorm(sizes.width, kNormEps));
  }
  int64_t out() const override { return out_; }
  at::Tensor forward(const RegionTokens& region, PathDrop*) override {
    return proj_(norm_ ? norm_(region.tokens) : region.tokens);
  }

 private:
  LayerNorm norm_{nullptr};
  Linear proj_;
  int64_t out_;
};

// Linear, GELU, ..., Linear.
class MlpStackImpl : public torch::nn::Module {
 public:
  MlpStackImpl(int64_t width, int64_t hidden, int64_t out, int64_t depth) {
    for (int64_t i = 0; i < depth; ++i)
      layers_.push_back(
          register_module("layer" + std::to_string(i), Linear(i == 0 ? width : hidden, i + 1 == depth ? out : hidden)));
  }
  at::Tensor forward(at::Tensor x) {
    for (size_t i = 0; i < layers_.size(); ++i) x = layers_[i](i == 0 ? x : activate(x, Activation::kGelu));
    return x;
  }

 private:
  std::vector<Linear> layers_;
};
TORCH_MODULE(MlpStack);

class MlpHead : public Head {
 public:
  MlpHead(const HeadConfig& c, const HeadSizes& s)
      : mlp_(register_module(
            "mlp", MlpStack(s.width, c.hidden > 0 ? c.hidden : kMlpRatio * s.width, s.out, c.depth > 0 ? c.depth : 2))),
        out_(s.out) {
    if (c.norm) norm_ = register_module("norm", LayerNorm(s.width, kNormEps));
  }
  int64_t out() const override { return out_; }
  at::Tensor forward(const RegionTokens& region, PathDrop*) override {
    return mlp_(norm_ ? norm_(region.tokens) : region.tokens);
  }

 private:
  LayerNorm norm_{nullptr};
  MlpStack mlp_;
  int64_t out_;
};

// cae.md section 1.6.
class DecoderHead : public Head {
 public:
  DecoderHead(const HeadConfig& c, const HeadSizes& s)
      : blocks_(register_module("blocks", torch::nn::ModuleList())),
        norm_(register_module("norm", LayerNorm(s.width, kNormEps))),
        proj_(register_module("proj", Linear(s.width, s.out))),
        depth_(c.depth > 0 ? c.depth : 4),
        drop_path_(c.drop_path),
        out_(s.out) {
    check(s.width % c.heads == 0, "head: width ", s.width, " is not divisible into ", c.heads,
          " heads; set head.heads");
    for (int64_t i = 0; i < depth_; ++i)
      blocks_->push_back(Block(BlockConfig{.width = s.width,
                                           .heads = c.heads,
                                           .hidden = kMlpRatio * s.width,
                                           .qkv_bias = QkvBias::kQueryValue,
                                           .layer_scale = c.layer_scale,
                                           .norm_eps = kNormEps}));
    positions_ = register_buffer("positions", sin_cos_positions(s.grid, s.width)[0].contiguous());
  }
  int64_t out() const override { return out_; }
  at::Tensor forward(const RegionTokens& region, PathDrop* drop) override {
    at::Tensor x = region.tokens + at::embedding(positions_, region.places);
    for (int64_t i = 0; i < depth_; ++i)
      x = blocks_->ptr<BlockImpl>(static_cast<size_t>(i))->forward(x, path_drop_rate(drop_path_, i, depth_), drop);
    return proj_(norm_(x));
  }

 private:
  torch::nn::ModuleList blocks_;
  LayerNorm norm_;
  Linear proj_;
  int64_t depth_;
  double drop_path_;
  int64_t out_;
  at::Tensor positions_;  // [1+N,D]
};

// maskclip.md section 1.4. The gain of the weight norm is 1; where it is not trained it is a buffer.
class ProjectionHead : public Head {
 public:
  ProjectionHead(const HeadConfig& c, const HeadSizes& s)
      : mlp_(register_module(
            "mlp", MlpStack(s.width, c.hidden > 0 ? c.hidden : 2048, c.bottleneck, c.depth > 0 ? c.depth : 3))),
        out_(c.prototypes) {
    weight_v_ = register_parameter("weight_v", torch::empty({c.prototypes, c.bottleneck}));
    weight_g_ = c.train_gain ? register_parameter("weight_g", torch::ones({c.prototypes, 1}))
                             : register_buffer("weight_g", torch::ones({c.prototypes, 1}));
  }
  int64_t out() const override { return out_; }
  at::Tensor forward(const RegionTokens& region, PathDrop*) override {
    const at::Tensor code = unit_length(mlp_(region.tokens));
    return at::linear(code, (weight_g_ * unit_length(weight_v_)).to(code.scalar_type()));
  }
  std::string prototype_layer() const override { return "weight_"; }  // directions and, where trained, lengths

 private:
  MlpStack mlp_;
  at::Tensor weight_v_;  // [K,C]
  at::Tensor weight_g_;  // [K,1]
  int64_t out_;
};

class DictionaryHead : public Head {
 public:
  DictionaryHead(const HeadConfig& c, const HeadSizes& s)
      : proj_(register_module("proj", Linear(s.width, s.codebook.size(1)))),
        temperature_(c.temperature),
        out_(s.codebook.size(0)) {
    if (c.norm) norm_ = register_module("norm", LayerNorm(s.width, kNormEps));
    codebook_ = register_buffer("codebook", s.codebook.clone());
  }
  int64_t out() const override { return out_; }
  at::Tensor forward(const RegionTokens& region, PathDrop*) override {
    const at::Tensor code = unit_length(proj_(norm_ ? norm_(region.tokens) : region.tokens));
    return at::linear(code, codebook_.to(code.scalar_type())) / temperature_;
  }

 private:
  LayerNorm norm_{nullptr};
  Linear proj_;
  double temperature_;
  int64_t out_;
  at::Tensor codebook_;  // [K,C] the tokenizer's, not trained
};

}  // namespace

void HeadConfig::fields(Fields& f) {
  f.add("kind", kind, kHeadKinds, {.help = "how tokens become predictions"});
  f.add("norm", norm, {.help = "linear, mlp, dictionary: a layer norm before it"});
  f.add("depth", depth,
        {.help = "mlp, projection: layers; decoder: blocks; 0 is the usual number (2, 3, 4)", .min = 0, .max = 64});
  f.add("hidden", hidden, {.help = "mlp, projection: width between; 0 is 4 times the tokens', 2048", .min = 0});
  f.add("bottleneck", bottleneck,
        {.help = "projection: width before the prototypes; mlp over a teacher with_head: width of both outputs",
         .unit = "channels",
         .min = 1});
  f.add("prototypes", prototypes, {.help = "projection: number of prototypes", .min = 2, .max = 1 << 20});
  f.add("train_gain", train_gain, {.help = "projection: train the prototypes' lengths, too"});
  f.add("temperature", temperature, {.help = "dictionary: divides the cosines", .min = 0, .above_min = true});
  f.add("heads", heads, {.help = "decoder: attention heads", .min = 1, .max = 1024});
  f.add("layer_scale", layer_scale,
        {.help = "decoder: initial layer scale; auto is none", .min = 0, .above_min = true});
  f.add("drop_path", drop_path,
        {.help = "decoder: largest stochastic depth rate", .min = 0, .max = 1, .below_max = true});
}

std::shared_ptr<Head> build_head(const HeadConfig& config, const HeadSizes& sizes) {
  switch (config.kind) {
    case HeadKind::kLinear:
      return std::make_shared<LinearHead>(config, sizes);
    case HeadKind::kMlp:
      return std::make_shared<MlpHead>(config, sizes);
    case HeadKind::kDecoder:
      return std::make_shared<DecoderHead>(config, sizes);
    case HeadKind::kProjection:
      return std::make_shared<ProjectionHead>(config, sizes);
    case HeadKind::kDictionary:
      check(sizes.codebook.defined(),
            "head: a dictionary head reads the tokenizer's codebook, and this teacher has "
            "none; use teacher.kind=vqkd, or head.kind=linear");
      return std::make_shared<DictionaryHead>(config, sizes);
    case HeadKind::kIdentity:
      return std::make_shared<IdentityHead>(sizes);
  }
  return nullptr;
}

}  // namespace lacuna
