#pragma once
// Mixing, erasing and smoothing of a batch on its device, by draws of data/view/mix.h. Tensors are those after
// normalisation.

#include <span>
#include <vector>

#include "data/view/mix.h"
#include "nn/torch.h"

namespace lacuna {

// [B,3,S,S] -> [B,3,S,S]: each image with its partner's, the B-1-i-th.
at::Tensor mix_images(const at::Tensor& images, std::span<const Mix> mixes);

// Labels [B] (int64) -> targets [B,K]: 1 - smoothing + smoothing / K on the own class, smoothing / K elsewhere, mixed
// like the images.
at::Tensor mix_targets(const at::Tensor& labels, std::span<const Mix> mixes, int64_t classes, double smoothing);

// Puts noise [3,h,w] for each box into an image [3,S,S], in place. Mode "pixel" of timm: standard normal values.
void erase(const at::Tensor& image, std::span<const Box> boxes, Rng& rng);

}  // namespace lacuna
