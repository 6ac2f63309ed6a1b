#include "nn/position.h"

#include "base/error.h"

namespace lacuna {

at::Tensor sin_cos_positions(int64_t grid, int64_t width) {
  check(width % 4 == 0, "sin-cos positions need a width divisible by 4, found ", width);
  const int64_t quarter = width / 4;
  // float32 throughout: the reference computes it so, and parity below 1e-7 needs the same bits.
  const at::Tensor exponent = at::arange(quarter, at::kFloat) / static_cast<double>(quarter);
  const at::Tensor frequency = 1.0 / at::pow(at::scalar_tensor(10000.0f, at::kFloat), exponent);  // [D/4]
  const at::Tensor places = at::arange(grid, at::kFloat);                                         // [G]
  const at::Tensor angle = places.unsqueeze(1) * frequency.unsqueeze(0);                          // [G,D/4]
  const at::Tensor wave = at::cat({at::sin(angle), at::cos(angle)}, 1);                           // [G,D/2]
  const at::Tensor rows = wave.unsqueeze(1).expand({grid, grid, 2 * quarter});
  const at::Tensor columns = wave.unsqueeze(0).expand({grid, grid, 2 * quarter});
  const at::Tensor patches = at::cat({rows, columns}, 2).reshape({grid * grid, width});
  return at::cat({at::zeros({1, width}), patches}).unsqueeze(0);
}

}  // namespace lacuna
