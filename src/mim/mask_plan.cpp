#include "mim/mask_plan.h"

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace lacuna {
namespace {

at::Tensor pick(const MaskPlan& plan, const at::Tensor& x, const at::Tensor& rows) {
  invariant(x.dim() == 3 && x.size(0) == plan.batch && x.size(1) == plan.patches, "a mask plan of ", plan.batch, " x ",
            plan.patches, " patches cannot pick from ", x.sizes());
  const int64_t samples = plan.even() ? plan.batch : 1, width = x.size(2);
  return x.reshape({-1, width}).index_select(0, rows).view({samples, rows.numel() / samples, width});
}

}  // namespace

bool MaskPlan::even() const {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

int64_t MaskPlan::masked_count() const {
  invariant(even() && !counts.empty(), "samples of this mask plan hide different numbers of patches");
  return counts[0];
}

int64_t MaskPlan::visible_count() const { return patches - masked_count(); }

at::Tensor MaskPlan::pick_visible(const at::Tensor& x) const { return pick(*this, x, visible); }
at::Tensor MaskPlan::pick_masked(const at::Tensor& x) const { return pick(*this, x, masked); }

at::Tensor MaskPlan::restore(const at::Tensor& visible_rows, const at::Tensor& masked_rows) const {
  const int64_t width = visible_rows.size(2);
  at::Tensor out = at::empty({batch * patches, width}, visible_rows.options());
  out = out.index_copy(0, visible, visible_rows.reshape({-1, width}));
  return out.index_copy(0, masked, masked_rows.reshape({-1, width})).view({batch, patches, width});
}

at::Tensor MaskPlan::per_image_weights(const at::TensorOptions& options) const {
  std::vector<double> weights;
  weights.reserve(static_cast<size_t>(masked.numel()));
  for (const int64_t count : counts)
    weights.insert(weights.end(), static_cast<size_t>(count), 1.0 / static_cast<double>(batch * count));
  return torch::tensor(weights, at::kDouble).to(options);
}

MaskPlan plan_from_masks(std::span<const std::vector<uint8_t>> masks, at::Device device) {
  invariant(!masks.empty(), "a mask plan needs at least one sample");
  const auto patches = static_cast<int64_t>(masks[0].size());
  std::vector<int64_t> visible, masked, counts;
  for (const std::vector<uint8_t>& mask : masks) {
    invariant(mask.size() == masks[0].size(), "masks of one batch are of different grids");
    const auto first = static_cast<int64_t>(counts.size()) * patches, before = static_cast<int64_t>(masked.size());
    for (int64_t p = 0; p < patches; ++p) (mask[static_cast<size_t>(p)] ? masked : visible).push_back(first + p);
    counts.push_back(static_cast<int64_t>(masked.size()) - before);
  }
  return {.batch = static_cast<int64_t>(masks.size()),
          .patches = patches,
          .visible = torch::tensor(visible, at::kLong).to(device),
          .masked = torch::tensor(masked, at::kLong).to(device),
          .counts = counts};
}

MaskPlan plan_from_order(const at::Tensor& order, int64_t keep) {
  const int64_t batch = order.size(0), patches = order.size(1);
  invariant(batch > 0 && keep >= 0 && keep <= patches, "cannot keep ", keep, " patches of ", order.sizes());
  const at::Tensor first = at::arange(batch, order.options()).unsqueeze(1) * patches;
  const auto rows = [&](int64_t from, int64_t to) {
    return (std::get<0>(order.slice(1, from, to).sort(1)) + first).flatten();
  };
  return {.batch = batch,
          .patches = patches,
          .visible = rows(0, keep),
          .masked = rows(keep, patches),
          .counts = std::vector<int64_t>(static_cast<size_t>(batch), patches - keep)};
}

}  // namespace lacuna
