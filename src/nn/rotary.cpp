#include "nn/rotary.h"

#include "base/error.h"

namespace lacuna {
namespace {

constexpr double kBase = 10000;

}  // namespace

at::Tensor rotary_table(int64_t grid, int64_t reference, int64_t head_width) {
  check(head_width % 4 == 0, "rotary positions need heads of a width divisible by 4, found ", head_width);
  const int64_t bands = head_width / 4;
  // In float32 and in this order throughout, because published networks were trained with these very angles.
  const at::Tensor exponent = at::arange(bands, at::kLong).to(at::kFloat) / bands;
  const at::Tensor frequency = 1.0 / at::pow(kBase, exponent);
  const at::Tensor place = at::arange(grid, at::kLong).to(at::kFloat) / grid * reference;
  const at::Tensor angle = place.unsqueeze(1) * frequency;  // [G,d/4]
  const at::Tensor row = angle.unsqueeze(1).expand({grid, grid, bands});
  const at::Tensor column = angle.unsqueeze(0).expand({grid, grid, bands});
  const at::Tensor angles = at::cat({row, column}, 2).view({grid * grid, 2 * bands}).repeat_interleave(2, 1);  // [N,d]
  return at::stack({angles.sin(), angles.cos()});
}

at::Tensor rotation_of(const at::Tensor& table, int64_t batch, const at::Tensor& rows, int64_t before, int64_t after) {
  const int64_t patches = table.size(1), width = table.size(2);
  const at::Tensor picked =
      rows.defined() ? table.index_select(1, rows.remainder(patches)).view({2, batch, rows.size(0) / batch, width})
                     : table.unsqueeze(1);
  const auto unturned = [&](int64_t tokens) {
    const std::vector<int64_t> shape = {1, picked.size(1), tokens, width};
    return at::cat({at::zeros(shape, table.options()), at::ones(shape, table.options())});
  };
  return at::cat({unturned(before), picked, unturned(after)}, 2);
}

at::Tensor rotated(const at::Tensor& x, int64_t heads, const at::Tensor& rotation) {
  const int64_t width = x.size(2) / heads;
  const at::Tensor split = x.reshape({x.size(0), x.size(1), heads, width / 2, 2});
  const at::Tensor across = at::stack({-split.select(-1, 1), split.select(-1, 0)}, -1);
  const at::Tensor turn = rotation.unsqueeze(3);  // [2,B,T,1,d]
  const at::Tensor out = split.flatten(3) * turn[1] + across.flatten(3) * turn[0];
  return out.to(x.scalar_type()).view(x.sizes());
}

}  // namespace lacuna
