#include "eval/taps.h"

#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "base/config.h"
#include "base/error.h"

namespace lacuna {
namespace {

constexpr Named<Feature> kFeatures[] = {{Feature::kClass, "class"},
                                        {Feature::kMean, "mean"},
                                        {Feature::kPatches, "patches"},
                                        {Feature::kProjected, "projected"}};

struct Layer {
  std::string name;
  std::optional<int64_t> block;
};

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else if (c != ' ') {
      parts.back() += c;
    }
  }
  return parts;
}

Layer numbered(const std::string& word, int64_t depth) {
  int64_t number = 0;
  const auto [stopped, fault] = std::from_chars(word.data(), word.data() + word.size(), number);
  check(fault == std::errc() && stopped == word.data() + word.size() && !word.empty(),
        "layer: expected last, all or the number of a block, found '", word, "'");
  check(number >= -depth && number <= depth, "layer: expected a number from ", -depth, " to ", depth,
        " in a network of ", depth, " blocks, found ", number);
  const int64_t place = number < 0 ? depth + 1 + number : number;
  return {std::to_string(place), place - 1};
}

std::vector<Layer> parse_layers(const std::string& words, int64_t depth) {
  std::vector<Layer> layers;
  for (const std::string& word : split_at_commas(words)) {
    if (word == "last") {
      layers.push_back({"last", std::nullopt});
    } else if (word == "all") {
      for (int64_t i = 1; i <= depth; ++i) layers.push_back({std::to_string(i), i - 1});
    } else {
      layers.push_back(numbered(word, depth));
    }
  }
  return layers;
}

std::vector<int64_t> shape_of(const FrozenVit& model, Feature feature) {
  const VitConfig& vit = model.vit->config();
  switch (feature) {
    case Feature::kClass:
    case Feature::kMean:
      return {vit.width};
    case Feature::kPatches:
      return {vit.patches(), vit.width};
    case Feature::kProjected:
      return {model.embed()};
  }
  invariant(false, "a feature without a shape");
  return {};
}

void check_has(const FrozenVit& model, Feature feature) {
  const bool has_class = model.vit->config().class_token;
  check(feature != Feature::kClass || has_class,
        "features: this network has no class token; use mean or patches instead of class");
  if (feature != Feature::kProjected) return;
  check(!model.projection.is_empty() && has_class,
        "features: this network has no projection of the class token into a common space; projected is there for CLIP");
}

Feature feature_named(const std::string& word) {
  for (const Named<Feature>& each : kFeatures) {
    if (each.name == word) return each.value;
  }
  fail("features: expected class, mean, patches or projected, found '", word, "'");
}

// tokens [B,C+N,D] -> [B,…]
at::Tensor pick(const FrozenVit& model, const at::Tensor& tokens, Feature feature) {
  const at::Tensor patches = tokens.slice(1, model.vit->config().class_tokens());
  switch (feature) {
    case Feature::kClass:
      return tokens.select(1, 0);
    case Feature::kMean:
      return patches.mean(1);
    case Feature::kPatches:
      return patches;
    case Feature::kProjected: {
      Linear projection = model.projection;
      return projection(tokens.select(1, 0));
    }
  }
  invariant(false, "a feature that is not taken");
  return {};
}

}  // namespace

std::vector<Tap> choose_taps(const FrozenVit& model, const std::string& features, const std::string& layers) {
  const std::vector<Layer> chosen = parse_layers(layers, model.vit->config().depth);
  const std::string words = !features.empty() ? features : model.vit->config().class_token ? "class" : "mean";
  std::vector<Tap> taps;
  std::set<std::string> seen;
  for (const std::string& word : split_at_commas(words)) {
    const Feature feature = feature_named(word);
    check_has(model, feature);
    const bool one_place = feature == Feature::kProjected;
    for (const Layer& layer : one_place ? std::vector<Layer>{{"last", std::nullopt}} : chosen) {
      const std::string name = chosen.size() > 1 && !one_place ? word + "." + layer.name : word;
      check(seen.insert(name).second, "features: ", name, " is asked for twice");
      taps.push_back({name, feature, layer.block, shape_of(model, feature)});
    }
  }
  return taps;
}

std::vector<at::Tensor> take(const FrozenVit& model, const at::Tensor& images, const std::vector<Tap>& taps) {
  const c10::InferenceMode no_graph;
  Vit vit = model.vit;
  std::vector<at::Tensor> out(taps.size());
  const auto pick_all = [&](std::optional<int64_t> block, const at::Tensor& tokens) {
    for (size_t i = 0; i < taps.size(); ++i) {
      if (taps[i].block == block) out[i] = pick(model, tokens, taps[i].feature);
    }
  };
  const at::Tensor end = vit->run_blocks(images, {}, nullptr, pick_all);
  pick_all(std::nullopt, vit->normalize(end));
  return out;
}

}  // namespace lacuna
