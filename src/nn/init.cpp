#include "nn/init.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "nn/layers.h"
#include "nn/text_tower.h"

namespace lacuna {
namespace {

constexpr double kTokenSigma = 0.02;
constexpr double kTextPositionSigma = 0.01;
constexpr double kProjectionHeadCut = 2;

// How a parameter starts.
struct Start {
  enum class Kind { kConstant, kUniform, kNormal, kTruncated };
  Kind kind = Kind::kConstant;
  double scale = 0;  // the constant, the bound, or sigma
  double cut = 0;    // kTruncated
};

Start constant(double value) { return {Start::Kind::kConstant, value}; }
Start uniform(double bound) { return {Start::Kind::kUniform, bound}; }
Start normal(double sigma) { return {Start::Kind::kNormal, sigma}; }
Start truncated(double sigma, double cut) { return {Start::Kind::kTruncated, sigma, cut}; }

double power(int64_t size, double exponent) { return std::pow(static_cast<double>(size), exponent); }
int64_t fan_in(const LinearImpl& linear) { return linear.weight.size(1); }
Start xavier(const LinearImpl& linear) {
  return uniform(std::sqrt(6.0 / static_cast<double>(linear.weight.size(0) + linear.weight.size(1))));
}

// Where a module stands: its name, and what it is a part of.
struct Place {
  std::string name;
  InitScheme scheme = InitScheme::kCae;
  const TextConfig* text = nullptr;  // inside a text tower
  bool projection_head = false;      // inside a head with weight-normed prototypes

  bool is(std::string_view layer) const { return name.ends_with(layer); }
  bool ends_residual_branch() const { return is("attn.proj") || is("mlp.fc2"); }
};

// The block a layer like "blocks.2.attn.proj" belongs to, counted from one in its list: here 3.
std::optional<int64_t> block_of(std::string_view layer) {
  for (int part = 0; part < 2; ++part) layer = layer.substr(0, std::min(layer.rfind('.'), layer.size()));
  const std::string_view index = layer.substr(layer.rfind('.') + 1);
  int64_t value = 0;
  const auto [rest, fault] = std::from_chars(index.data(), index.data() + index.size(), value);
  if (fault != std::errc() || rest != index.data() + index.size()) return std::nullopt;
  return value + 1;
}

Start beit_weight(const Place& place) {
  const std::optional<int64_t> block = place.ends_residual_branch() ? block_of(place.name) : std::nullopt;
  const double shrink = block ? 1 / std::sqrt(2.0 * static_cast<double>(*block)) : 1;
  return truncated(shrink * kTokenSigma, shrink * kTokenSigma);
}

Start clip_weight(const LinearImpl& linear, const Place& place) {
  if (place.text && place.is("attn.qkv")) return normal(power(place.text->width, -0.5));
  if (place.text && place.is("mlp.fc1")) return normal(power(2 * place.text->width, -0.5));
  if (place.text && place.ends_residual_branch()) return normal(power(2 * place.text->depth * place.text->width, -0.5));
  if (place.is("projection")) return normal(power(fan_in(linear), -0.5));
  return place.is("attn.qkv") ? xavier(linear) : uniform(power(fan_in(linear), -0.5));
}

Start weight_of(const LinearImpl& linear, const Place& place) {
  if (place.projection_head) return truncated(kTokenSigma, kProjectionHeadCut);
  switch (place.scheme) {
    case InitScheme::kCae:
      return place.is("patch_embed") ? truncated(kTokenSigma, kTokenSigma) : xavier(linear);
    case InitScheme::kBeit:
      return beit_weight(place);
    case InitScheme::kMae:
      return xavier(linear);
    case InitScheme::kClip:
      return clip_weight(linear, place);
  }
  return {};
}

Start bias_of(const LinearImpl& linear, const Place& place) {
  const bool drawn =
      place.scheme == InitScheme::kClip && !place.projection_head && !place.is("attn.qkv") && !place.is("attn.proj");
  return drawn ? uniform(power(fan_in(linear), -0.5)) : constant(0);
}

// Class, mask and position tokens, and embeddings of words.
Start token(const at::Tensor& tensor, std::string_view parameter, const Place& place) {
  switch (place.scheme) {
    case InitScheme::kCae:
    case InitScheme::kBeit:
      return truncated(kTokenSigma, kTokenSigma);
    case InitScheme::kMae:
      return normal(kTokenSigma);
    case InitScheme::kClip:
      if (place.text && parameter == "pos_embed") return normal(kTextPositionSigma);
      return normal(parameter == "pos_embed" || parameter == "cls_token" ? power(tensor.size(-1), -0.5) : kTokenSigma);
  }
  return {};
}

// Parameters that a module owns itself, outside the usual layers.
Start own_parameter(const at::Tensor& tensor, std::string_view parameter, const Place& place) {
  if (parameter.ends_with("bias") || parameter == "relative_position_bias_table") return constant(0);
  if (parameter == "gain" || parameter == "weight_g") return constant(1);
  if (parameter == "weight_v") return truncated(kTokenSigma, kProjectionHeadCut);
  return token(tensor, parameter, place);
}

template <class Draw>
void fill(at::Tensor tensor, uint64_t seed, const std::string& name, Draw draw) {
  Rng rng(seed, Purpose::kInit, 0, hash_name(name));
  at::Tensor values = at::empty({tensor.numel()}, at::kDouble);
  double* out = values.data_ptr<double>();
  for (int64_t i = 0; i < tensor.numel(); ++i) out[i] = draw(rng);
  tensor.copy_(values.view(tensor.sizes()));
}

void set(at::Tensor tensor, const Start& start, uint64_t seed, const std::string& name) {
  switch (start.kind) {
    case Start::Kind::kConstant:
      tensor.fill_(start.scale);
      break;
    case Start::Kind::kUniform:
      fill_uniform(tensor, start.scale, seed, name);
      break;
    case Start::Kind::kNormal:
      fill_normal(tensor, start.scale, seed, name);
      break;
    case Start::Kind::kTruncated:
      fill_truncated_normal(tensor, start.scale, start.cut, seed, name);
      break;
  }
}

void initialize_part(torch::nn::Module& part, const Place& place, uint64_t seed) {
  if (auto* linear = dynamic_cast<LinearImpl*>(&part)) {
    set(linear->weight, weight_of(*linear, place), seed, place.name + ".weight");
    if (linear->bias.defined()) set(linear->bias, bias_of(*linear, place), seed, place.name + ".bias");
  } else if (auto* norm = dynamic_cast<LayerNormImpl*>(&part)) {
    norm->weight.fill_(1);
    norm->bias.zero_();
  } else if (auto* scale = dynamic_cast<LayerScaleImpl*>(&part)) {
    scale->gamma.fill_(scale->initial());
  } else {
    for (auto& item : part.named_parameters(/*recurse=*/false)) {
      if (item.value().dim() == 0) continue;  // a constant, set where it is made
      set(item.value(), own_parameter(item.value(), item.key(), place), seed, place.name + "." + item.key());
    }
  }
}

// Modules whose parts are treated by other rules.
struct Enclosure {
  std::string name;
  const TextConfig* text;  // null: a projection head
};

std::vector<Enclosure> enclosures(torch::nn::Module& module, const std::string& prefix) {
  std::vector<Enclosure> out;
  for (auto& item : module.named_modules(prefix, /*include_self=*/true)) {
    if (const auto* tower = dynamic_cast<const TextTowerImpl*>(item.value().get())) {
      out.push_back({item.key(), &tower->config()});
    } else if (item.value()->named_parameters(/*recurse=*/false).contains("weight_v")) {
      out.push_back({item.key(), nullptr});
    }
  }
  return out;
}

Place place_of(const std::string& name, InitScheme scheme, const std::vector<Enclosure>& enclosures) {
  Place place{.name = name, .scheme = scheme};
  for (const Enclosure& enclosure : enclosures) {
    const bool inside = enclosure.name.empty() || name == enclosure.name || name.starts_with(enclosure.name + ".");
    if (!inside) continue;
    if (enclosure.text) place.text = enclosure.text;
    if (!enclosure.text) place.projection_head = true;
  }
  return place;
}

}  // namespace

void fill_uniform(at::Tensor tensor, double bound, uint64_t seed, const std::string& name) {
  fill(std::move(tensor), seed, name, [bound](Rng& rng) { return rng.uniform(-bound, bound); });
}

void fill_normal(at::Tensor tensor, double sigma, uint64_t seed, const std::string& name) {
  fill(std::move(tensor), seed, name, [sigma](Rng& rng) { return sigma * rng.normal(); });
}

void fill_truncated_normal(at::Tensor tensor, double sigma, double cut, uint64_t seed, const std::string& name) {
  fill(std::move(tensor), seed, name, [sigma, cut](Rng& rng) {
    double value = sigma * rng.normal();
    while (std::abs(value) > cut) value = sigma * rng.normal();
    return value;
  });
}

void initialize(torch::nn::Module& module, uint64_t seed, InitScheme scheme, const std::string& prefix) {
  const at::NoGradGuard no_grad;
  const std::vector<Enclosure> special = enclosures(module, prefix);
  for (auto& item : module.named_modules(prefix, /*include_self=*/true))
    initialize_part(*item.value(), place_of(item.key(), scheme, special), seed);
}

}  // namespace lacuna
