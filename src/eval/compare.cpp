#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "data/view/framed_view.h"
#include "eval/taps.h"
#include "train/batch.h"

namespace lacuna {
namespace {

at::Tensor with_full_bias(const at::Tensor& query, const at::Tensor& value) {
  return at::cat({query, at::zeros_like(query), value});
}

// pixels [1,I,S,S] as the network frames them, in double. A network of other than three channels sees red, green and
// blue in turn: any pixels will do, as long as both see the same.
at::Tensor view_of(const Image& image, const FrozenVit& model) {
  const auto side = static_cast<int>(model.vit->config().image_side);
  const Image view = framed_view(image, side, model.kernel, model.framing);
  const auto channels = static_cast<int>(model.vit->config().channels);
  const Sheets sheets(static_cast<std::size_t>(sheets_of(channels)), view);
  std::vector<std::uint8_t> pixels(view.pixels.size() / 3 * static_cast<std::size_t>(channels));
  interleave(sheets, channels, pixels.data());
  return normalize_pixels(pixels, 1, {.side = side, .kernel = model.kernel, .stats = model.stats, .spectrum = channels},
                          at::kCPU, at::kDouble);
}

void make_double(FrozenVit& model) {
  model.vit->to(at::kDouble);
  if (model.projection) model.projection->to(at::kDouble);
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  return at::cosine_similarity(a.flatten(), b.flatten(), 0, 1e-300).item<double>();
}

// The taps of both networks, layer by layer.
class Comparer {
 public:
  Comparer(FrozenVit& a, FrozenVit& b) : a_(a), b_(b) {
    const VitConfig& left = a.vit->config();
    const VitConfig& right = b.vit->config();
    const bool class_tokens = left.class_token && right.class_token;
    same_grid_ = left.patches() == right.patches();
    const std::string layers = left.depth == right.depth ? "0,all,last" : "last";
    std::string features = class_tokens ? "class,mean" : "mean";
    if (same_grid_) features += ",patches";
    taps_a_ = choose_taps(a, features, layers);
    taps_b_ = choose_taps(b, features, layers);
    if (a.projection && b.projection && class_tokens && a.embed() == b.embed()) {
      taps_a_.push_back(choose_taps(a, "projected", "last")[0]);
      taps_b_.push_back(choose_taps(b, "projected", "last")[0]);
    }
  }

  void add(const Image& image) {
    const std::vector<at::Tensor> left = take(a_, view_of(image, a_), taps_a_);
    const std::vector<at::Tensor> right = take(b_, view_of(image, b_), taps_b_);
    for (size_t i = 0; i < taps_a_.size(); ++i) add(taps_a_[i], left[i], right[i]);
  }

  std::vector<LayerComparison> layers() const {
    std::vector<LayerComparison> out = layers_;
    for (size_t i = 0; i < out.size(); ++i) out[i].relative = out[i].largest / (scales_[i] > 0 ? scales_[i] : 1);
    return out;
  }

 private:
  void add(const Tap& tap, const at::Tensor& left, const at::Tensor& right) {
    LayerComparison& layer = layer_of(tap);
    const bool measured = tap.feature != Feature::kMean || !same_grid_;
    if (measured) {
      layer.largest = std::max(layer.largest, (left - right).abs().max().item<double>());
      double& scale = scales_[static_cast<size_t>(&layer - layers_.data())];
      scale = std::max(scale, left.abs().max().item<double>());
    }
    if (tap.feature == Feature::kMean) layer.mean_cosine = std::min(layer.mean_cosine, cosine(left, right));
    if (tap.feature == Feature::kClass || tap.feature == Feature::kProjected)
      layer.class_cosine = std::min(std::isnan(layer.class_cosine) ? 1 : layer.class_cosine, cosine(left, right));
  }

  LayerComparison& layer_of(const Tap& tap) {
    const std::string name = tap.feature == Feature::kProjected ? "projected"
                             : tap.block                        ? std::to_string(*tap.block + 1)
                                                                : "last";
    for (LayerComparison& layer : layers_) {
      if (layer.layer == name) return layer;
    }
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    layers_.push_back({.layer = name, .class_cosine = kNone, .mean_cosine = name == "projected" ? kNone : 1});
    scales_.push_back(0);
    return layers_.back();
  }

  FrozenVit& a_;
  FrozenVit& b_;
  bool same_grid_ = false;
  std::vector<Tap> taps_a_, taps_b_;
  std::vector<LayerComparison> layers_;
  std::vector<double> scales_;  // the largest value of each layer of `a`
};

}  // namespace

TensorList tensors_of(const TensorFile& file) {
  TensorList out;
  for (const std::string& name : file.names()) out.emplace_back(name, file.at(name));
  return out;
}

WeightsComparison compare_tensors(const TensorList& a, const TensorList& b) {
  std::map<std::string_view, const TensorInfo*> others;
  for (const auto& [name, tensor] : b) others.emplace(name, &tensor);
  WeightsComparison out;
  for (const auto& [name, tensor] : a) {
    const auto found = others.find(name);
    if (found == others.end()) {
      out.only_a.push_back(name);
      continue;
    }
    const TensorInfo& other = *found->second;
    others.erase(found);
    const TensorDifference apart = difference(tensor, other);
    if (!apart.same_shape) {
      out.shapes.push_back({name, tensor.shape, other.shape});
    } else if (apart.identical) {
      ++out.identical;
    } else {
      (apart.differ > 0 ? out.different : out.retyped).push_back({name, tensor.dtype, other.dtype, apart});
    }
  }
  for (const auto& [name, tensor] : b) {
    if (others.contains(name)) out.only_b.push_back(name);
  }
  std::stable_sort(out.different.begin(), out.different.end(),
                   [](const auto& x, const auto& y) { return x.difference.relative > y.difference.relative; });
  return out;
}

NamedTensors canonical_tensors(const FrozenVit& model) {
  NamedTensors all = named_tensors(*model.vit, "vit.", /*buffers=*/true);
  if (model.projection) {
    for (const auto& each : named_tensors(*model.projection, "projection.")) all.push_back(each);
  }
  NamedTensors out;
  for (const auto& [name, tensor] : all) {
    constexpr std::string_view kQuery = "q_bias", kValue = "v_bias";
    if (name.ends_with(kValue)) continue;
    std::string own = name;
    at::Tensor values = tensor;
    if (name.ends_with(kQuery)) {
      const std::string front = name.substr(0, name.size() - kQuery.size());
      const at::Tensor* value = find(all, front + std::string(kValue));
      invariant(value != nullptr, name, " without the bias of the value");
      own = front + "qkv.bias";
      values = with_full_bias(tensor, *value);
    }
    out.emplace_back(own, values.detach().to(at::kCPU, at::kFloat).contiguous());
  }
  return out;
}

TensorList views_of(const NamedTensors& tensors) {
  TensorList out;
  for (const auto& [name, tensor] : tensors) {
    invariant(tensor.scalar_type() == at::kFloat && tensor.is_contiguous(), name, ": no canonical tensor");
    out.emplace_back(name, TensorInfo{DType::kF32,
                                      tensor.sizes().vec(),
                                      {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  return out;
}

double FeatureComparison::largest_relative() const {
  double largest = 0;
  for (const LayerComparison& layer : layers) largest = std::max(largest, layer.relative);
  return largest;
}

FeatureComparison compare_features(FrozenVit& a, FrozenVit& b, const Source& images) {
  FeatureComparison out;
  if (a.vit->config().width != b.vit->config().width) {
    out.why_not = text("the networks have widths ", a.vit->config().width, " and ", b.vit->config().width);
    return out;
  }
  make_double(a);
  make_double(b);
  Comparer comparer(a, b);
  for (; out.images < images.size(); ++out.images) comparer.add(images.image(out.images));
  out.layers = comparer.layers();
  return out;
}

}  // namespace lacuna
