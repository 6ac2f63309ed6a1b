#include "train/batch.h"

#include "base/error.h"

namespace lacuna {
namespace {

at::Tensor channels(const std::vector<double>& values, const at::TensorOptions& like) {
  return torch::tensor(values, at::kDouble).view({1, -1, 1, 1}).to(like);
}

}  // namespace

at::Tensor normalize_pixels(std::span<const std::uint8_t> pixels, int64_t batch, const ViewSpec& view,
                            at::Device device, at::ScalarType dtype) {
  const int64_t side = view.side, count = view.channels();
  invariant(static_cast<int64_t>(pixels.size()) == batch * side * side * count, "batch pixels do not fit their view");
  // from_blob wants a mutable pointer; the bytes are only read, and copied before the loader may reuse them.
  const at::Tensor bytes =
      at::from_blob(const_cast<std::uint8_t*>(pixels.data()), {batch, side, side, count}, at::kByte);
  const at::Tensor scaled =
      bytes.to(device).permute({0, 3, 1, 2}).to(dtype, false, true, at::MemoryFormat::Contiguous) / 255.0;
  return (scaled - channels(view.stats.mean, scaled.options())) / channels(view.stats.std, scaled.options());
}

Batch to_device(const HostBatch& host, std::span<const ViewSpec> views, at::Device device) {
  invariant(host.views.size() == views.size(), "the loader draws other views than the task asked for");
  Batch batch;
  for (size_t i = 0; i < views.size(); ++i)
    batch.views.push_back(normalize_pixels(host.views[i], host.size, views[i], device));
  batch.ids = host.ids;
  batch.labels = host.labels;
  batch.captions = host.captions;
  batch.epoch = host.epoch;
  return batch;
}

}  // namespace lacuna
