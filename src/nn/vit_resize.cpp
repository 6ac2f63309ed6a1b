#include "nn/vit_resize.h"

#include "nn/weights/weights.h"

namespace lacuna {
namespace {

at::Tensor at_grid(const std::string& name, const at::Tensor& value, const VitConfig& c, PositionResize positions,
                   BiasResize bias) {
  if (name == "pos_embed") return resize_positions(value, c.grid(), c.grid(), positions, c.class_tokens());
  if (name.ends_with("relative_position_bias_table")) return resize_relative_bias(value, c.grid(), bias);
  return value;
}

}  // namespace

Vit resized(const Vit& vit, int64_t image_side, PositionResize positions, BiasResize bias) {
  const at::NoGradGuard no_grad;
  VitConfig config = vit->config();
  config.image_side = image_side;
  Vit out(config);
  const at::Tensor& any = vit->patch_embed->weight;
  out->to(any.device(), any.scalar_type());
  const NamedTensors source = named_tensors(*vit), target = named_tensors(*out);
  for (const auto& [name, tensor] : target) tensor.copy_(at_grid(name, *find(source, name), config, positions, bias));
  out->train(vit->is_training());
  return out;
}

}  // namespace lacuna
