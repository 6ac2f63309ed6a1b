#include "mim/head.h"

namespace lacuna {

void HeadConfig::fields(Fields& f) { f.add("norm", norm, {.help = "a layer norm before the linear map"}); }

Head::Head(const HeadConfig& config, int64_t width, int64_t out) : proj_(register_module("proj", Linear(width, out))) {
  if (config.norm) norm_ = register_module("norm", LayerNorm(width, 1e-6));
}

at::Tensor Head::forward(const at::Tensor& tokens) { return proj_(norm_ ? norm_(tokens) : tokens); }

}  // namespace lacuna
