#include "nn/weights/vit_fields.h"

namespace lacuna {

void vit_fields(Fields& f, VitConfig& c) {
  f.add("width", c.width, {.help = "width of the tokens", .unit = "channels", .min = 4, .max = 65536});
  f.add("depth", c.depth, {.help = "number of blocks", .unit = "blocks", .min = 1, .max = 1024});
  f.add("heads", c.heads, {.help = "attention heads", .min = 1, .max = 1024});
  f.add("hidden", c.hidden, {.help = "width inside the MLP", .unit = "channels", .min = 1, .max = 1 << 20});
  f.add("activation", c.activation, kActivations, {.help = "non-linearity of the MLP"});
  f.add("qkv_bias", c.qkv_bias, kQkvBiases, {.help = "which attention projections have a bias"});
  f.add("layer_scale", c.layer_scale, {.help = "initial layer scale; auto is none", .min = 0, .above_min = true});
  f.add("positions", c.positions, kPositions, {.help = "absolute positions"});
  f.add("relative_bias", c.relative_bias, kRelativeBiases, {.help = "relative position bias of the attention"});
  f.add("patch_bias", c.patch_bias, {.help = "bias of the patch embedding"});
  f.add("pre_norm", c.pre_norm, {.help = "a norm between embedding and first block, as CLIP has"});
  f.add("registers", c.registers,
        {.help = "learned tokens beside the patches that only attention sees", .min = 0, .max = 1024});
  f.add("rotary_grid", c.rotary_grid,
        {.help = "rotary positions whose angles span a grid of this side; auto is none", .min = 1, .max = 1024});
  f.add("attention_norm", c.attention_norm, {.help = "a norm before the attention's output projection, as EVA-02"});
  f.add("mlp_norm", c.mlp_norm, {.help = "a norm before the second layer of the MLP, as EVA-02"});
  f.add("norm_eps", c.norm_eps, {.help = "epsilon of the layer norms", .min = 0, .above_min = true});
  f.add("drop_path", c.drop_path,
        {.help = "largest stochastic depth rate, linear over depth",
         .min = 0,
         .max = 1,
         .below_max = true,
         .aliases = {"drop_path"}});
}

}  // namespace lacuna
