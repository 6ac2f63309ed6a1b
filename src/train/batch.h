#pragma once
// A batch as the network sees it.

#include <span>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/view/view.h"
#include "nn/torch.h"

namespace lacuna {

struct Batch {
  std::vector<at::Tensor> views;      // per ViewSpec: [B,I,S,S], floating, normalised by the view's statistics
  std::vector<int64_t> ids;           // sample indices of the source
  std::vector<int64_t> labels;        // kNoLabel where there is none
  std::vector<std::string> captions;  // empty unless asked for
  int64_t epoch = 0;

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
};

// pixels [B,S,S,I] uint8 -> [B,I,S,S] of `dtype` on `device`: copied as bytes, normalised there in that type.
at::Tensor normalize_pixels(std::span<const std::uint8_t> pixels, int64_t batch, const ViewSpec& view,
                            at::Device device, at::ScalarType dtype = at::kFloat);

Batch to_device(const HostBatch& host, std::span<const ViewSpec> views, at::Device device);

}  // namespace lacuna
