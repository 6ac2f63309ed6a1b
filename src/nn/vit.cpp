#include "nn/vit.h"

#include "base/error.h"
#include "io/image/pixel_stats.h"
#include "nn/position.h"
#include "nn/rotary.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

struct NamedSize {
  std::string name;
  int64_t width, depth, heads;
};

const std::vector<NamedSize>& sizes() {
  static const std::vector<NamedSize> kSizes = {{"micro", 96, 4, 3},   {"tiny", 192, 12, 3},    {"small", 384, 12, 6},
                                                {"base", 768, 12, 12}, {"large", 1024, 24, 16}, {"huge", 1280, 32, 16}};
  return kSizes;
}

}  // namespace

BlockConfig block_config(const VitConfig& c) {
  return {.width = c.width,
          .heads = c.heads,
          .hidden = c.hidden,
          .activation = c.activation,
          .qkv_bias = c.qkv_bias,
          .layer_scale = c.layer_scale,
          .norm_eps = c.norm_eps,
          .attention_norm = c.attention_norm,
          .mlp_norm = c.mlp_norm};
}

VitConfig named_vit(std::string_view name) {
  for (const NamedSize& size : sizes()) {
    if (size.name != name) continue;
    VitConfig config;
    config.width = size.width;
    config.depth = size.depth;
    config.heads = size.heads;
    config.hidden = 4 * size.width;
    return config;
  }
  std::string known;
  for (const NamedSize& size : sizes()) known += (known.empty() ? "" : ", ") + size.name;
  fail("model: no size named '", name, "'; known sizes are ", known);
}

const std::vector<std::string>& vit_size_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const NamedSize& size : sizes()) names.push_back(size.name);
    return names;
  }();
  return kNames;
}

void validate(const VitConfig& c) {
  check(c.patch_side > 0 && c.image_side > 0 && c.image_side % c.patch_side == 0, "student: image side ", c.image_side,
        " is not a multiple of the patch side ", c.patch_side);
  check(c.width > 0 && c.heads > 0 && c.width % c.heads == 0, "student: width ", c.width, " is not divisible into ",
        c.heads, " heads");
  check(c.depth > 0 && c.hidden > 0, "student: depth and hidden width must be positive");
  const bool fixed = c.positions == Positions::kSinCos || c.positions == Positions::kSinCosColumns;
  check(!fixed || c.width % 4 == 0, "student: sin-cos positions need a width divisible by 4, found ", c.width);
  check(c.class_token || c.relative_bias == RelativeBiasKind::kNone,
        "student: a relative position bias needs a class token, whose pairs have rows in its table");
  check(c.channels > 0 && c.channels <= static_cast<int64_t>(kMaxChannels), "a ViT for images of ", c.channels,
        " channels; 1 to ", kMaxChannels, " are possible");
  check(c.registers >= 0, "student: the number of registers must not be negative");
  check(c.registers == 0 || c.relative_bias == RelativeBiasKind::kNone,
        "student: a relative position bias has no rows for registers; choose one of the two");
  check(!c.rotary_grid || (*c.rotary_grid > 0 && c.width / c.heads % 4 == 0),
        "student: rotary positions need heads of a width divisible by 4, found ", c.width / c.heads);
}

at::Tensor unfold_patches(const at::Tensor& images, int64_t p) {
  const int64_t batch = images.size(0), channels = images.size(1), grid = images.size(2) / p;
  return images.view({batch, channels, grid, p, grid, p})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({batch, grid * grid, channels * p * p});
}

at::Tensor pick_rows(const at::Tensor& x, const at::Tensor& rows) {
  return x.reshape({-1, x.size(2)}).index_select(0, rows).view({x.size(0), rows.size(0) / x.size(0), x.size(2)});
}

VitImpl::VitImpl(const VitConfig& c)
    : patch_embed(
          register_module("patch_embed", Linear(c.channels * c.patch_side * c.patch_side, c.width, c.patch_bias))),
      blocks(register_module("blocks", torch::nn::ModuleList())),
      relative_biases(register_module("relative_biases", torch::nn::ModuleList())),
      config_(c) {
  validate(c);
  if (c.class_token) cls_token = register_parameter("cls_token", torch::empty({1, 1, c.width}));
  if (c.registers > 0) reg_token = register_parameter("reg_token", torch::empty({1, c.registers, c.width}));
  if (c.rotary_grid) rotary_ = rotary_table(c.grid(), *c.rotary_grid, c.width / c.heads);
  if (c.final_norm) norm = register_module("norm", LayerNorm(c.width, c.norm_eps));
  switch (c.positions) {
    case Positions::kNone:
      break;
    case Positions::kSinCos:
      pos_embed = register_buffer("pos_embed", sin_cos_positions(c.grid(), c.width).slice(1, 1 - c.class_tokens()));
      break;
    case Positions::kSinCosColumns:
      pos_embed = register_buffer(
          "pos_embed", sin_cos_positions(c.grid(), c.width, AxisOrder::kColumnFirst).slice(1, 1 - c.class_tokens()));
      break;
    case Positions::kLearned:
      pos_embed = register_parameter("pos_embed", torch::empty({1, c.class_tokens() + c.patches(), c.width}));
      break;
  }
  if (c.pre_norm) norm_pre = register_module("norm_pre", LayerNorm(c.width, c.norm_eps));
  for (int64_t i = 0; i < c.depth; ++i) blocks->push_back(Block(block_config(c)));
  const int64_t tables = c.relative_bias == RelativeBiasKind::kNone     ? 0
                         : c.relative_bias == RelativeBiasKind::kShared ? 1
                                                                        : c.depth;
  for (int64_t i = 0; i < tables; ++i) relative_biases->push_back(RelativeBias(c.grid(), c.heads));
}

at::Tensor VitImpl::patches(const at::Tensor& images) {
  expect_shape(images, {kAny, config_.channels, config_.image_side, config_.image_side}, "images of the ViT");
  return patch_embed(unfold_patches(images, config_.patch_side));
}

at::Tensor VitImpl::with_positions(const at::Tensor& patch_tokens, const at::Tensor& rows) {
  const int64_t batch = patch_tokens.size(0);
  at::Tensor patch = patch_tokens, cls = cls_token;
  if (pos_embed.defined()) {
    at::Tensor positions = pos_embed.slice(1, config_.class_tokens()).expand({batch, config_.patches(), config_.width});
    if (rows.defined()) positions = pick_rows(positions, rows);
    patch = patch_tokens + positions;
    if (cls.defined()) cls = cls + pos_embed.slice(1, 0, 1);
  }
  std::vector<at::Tensor> parts = {patch};
  if (cls.defined()) parts.insert(parts.begin(), cls.expand({batch, 1, config_.width}));
  if (reg_token.defined()) parts.push_back(reg_token.expand({batch, -1, -1}));
  return parts.size() == 1 ? patch : at::cat(parts, 1);
}

at::Tensor VitImpl::rotation(int64_t batch, const at::Tensor& rows, const at::Tensor& like) {
  if (!rotary_.defined()) return {};
  const at::ScalarType dtype = like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  rotary_ = rotary_.to(like.device());
  return rotation_of(rotary_.to(dtype), batch, rows, config_.class_tokens(), config_.registers);
}

at::Tensor VitImpl::relative_bias(int64_t i, int64_t batch, const at::Tensor& rows) {
  if (relative_biases->is_empty()) return {};
  const size_t place = config_.relative_bias == RelativeBiasKind::kShared ? 0 : static_cast<size_t>(i);
  return relative_biases->ptr<RelativeBiasImpl>(place)->forward(batch, rows);
}

at::Tensor VitImpl::run_blocks(const at::Tensor& images, const at::Tensor& rows, PathDrop* drop, const Tap& tap) {
  expect_shape(images, {kAny, config_.channels, config_.image_side, config_.image_side}, "images of the ViT");
  const at::Tensor pixels = unfold_patches(images, config_.patch_side);  // [B,N,IPP]
  return run_patches(patch_embed(rows.defined() ? pick_rows(pixels, rows) : pixels), rows, drop, tap);
}

at::Tensor VitImpl::run_patches(const at::Tensor& patch_tokens, const at::Tensor& rows, PathDrop* drop,
                                const Tap& tap) {
  if (config_.registers == 0) return run_all(patch_tokens, rows, drop, tap);
  const auto without_registers = [this](const at::Tensor& x) { return x.slice(1, 0, x.size(1) - config_.registers); };
  const Tap shown = [&](int64_t block, const at::Tensor& x) {
    if (tap) tap(block, without_registers(x));
  };
  return without_registers(run_all(patch_tokens, rows, drop, shown));
}

at::Tensor VitImpl::run_all(const at::Tensor& patch_tokens, const at::Tensor& rows, PathDrop* drop, const Tap& tap) {
  const int64_t batch = patch_tokens.size(0);
  at::Tensor x = with_positions(patch_tokens, rows);
  if (norm_pre) x = norm_pre(x);
  if (tap) tap(-1, x);
  const at::Tensor turn = rotation(batch, rows, x);
  at::Tensor bias = relative_bias(0, batch, rows);
  for (int64_t i = 0; i < config_.depth; ++i) {
    if (i > 0 && config_.relative_bias == RelativeBiasKind::kPerBlock) bias = relative_bias(i, batch, rows);
    x = blocks->ptr<BlockImpl>(static_cast<size_t>(i))
            ->forward(x, path_drop_rate(config_.drop_path, i, config_.depth), drop, bias, turn);
    if (tap) tap(i, x);
  }
  return x;
}

at::Tensor VitImpl::class_attention(const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  invariant(config_.class_token, "class attention of a network without class token");
  const int64_t last = config_.depth - 1;
  at::Tensor input;  // of the last block
  run_all(patches(images), {}, nullptr, [&](int64_t block, const at::Tensor& tokens) {
    if (block == last - 1) input = tokens;
  });
  BlockImpl& block = *blocks->ptr<BlockImpl>(static_cast<size_t>(last));
  const at::Tensor row = block.attn->probabilities(block.norm1(input), 0, relative_bias(last, images.size(0)),
                                                   rotation(images.size(0), {}, input));
  return row.mean(1).slice(1, 1, 1 + config_.patches());  // [B,H,1+N+registers] -> [B,N]
}

at::Tensor VitImpl::encode(const at::Tensor& images, const at::Tensor& rows, PathDrop* drop) {
  return normalize(run_blocks(images, rows, drop, nullptr));
}

}  // namespace lacuna
