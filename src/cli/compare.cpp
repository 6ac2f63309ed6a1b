// `lacuna compare`: whether two files, folders or models hold the same weights, and what they make of the same images.

#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/run_config.h"
#include "cli/tables.h"
#include "data/source/index_cache.h"
#include "data/source/joined_source.h"
#include "eval/view_stream.h"
#include "io/files.h"
#include "nn/backbone.h"
#include "nn/shapes.h"
#include "nn/weights/weight_file.h"
#include "train/device.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShown = 20;  // names or rows of one kind; json=FILE has all

struct CompareConfig {
  double tolerance = 0;
  int64_t scenes = 4;
  std::optional<int> threads;
  std::string json;

  void fields(Fields& f) {
    f.add("tolerance", tolerance,
          {.help = "largest difference, relative to the largest value of the tensor or layer, that counts as equal",
           .min = 0});
    f.add("scenes", scenes,
          {.help = "built-in scenes that features are compared on where no image is named; 0: not at all",
           .min = 0,
           .max = 10000});
    f.add("threads", threads, {.help = "compute threads; auto is all cores", .min = 1, .max = 4096});
    f.add("json", json, {.help = "file that all of it is written to; empty writes none"});
  }
};

// One side: its file and, where it is one that opens, its network.
struct Side {
  fs::path path;
  std::optional<FrozenVit> model = {};
  std::string why_no_model = {};
  std::optional<TensorFile> file = {};
};

Side open_side(const fs::path& path) {
  Side side{.path = path};
  try {
    side.model = open_frozen_vit(path);
  } catch (const Error& error) {
    side.why_no_model = error.what();
  }
  side.file = open_weights(side.model && is_our_own(path) ? side.model->path : path);
  return side;
}

bool have_equal_names(const TensorFile& a, const TensorFile& b) {
  return std::set(a.names().begin(), a.names().end()) == std::set(b.names().begin(), b.names().end());
}

void print_side(const char* which, const Side& side) {
  std::cout << which << "  " << side.file->path().string() << ": "
            << (side.model ? side.model->family : "no vision transformer that opens") << ", "
            << side.file->names().size() << " tensors\n";
}

void print_names(const std::string& what, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) std::cout << what << printable(names[i]) << "\n";
  if (names.size() > kShown) std::cout << what << "and " << names.size() - kShown << " more\n";
}

void print_weights(const WeightsComparison& found) {
  const std::size_t both =
      static_cast<std::size_t>(found.identical) + found.different.size() + found.retyped.size() + found.shapes.size();
  if (both == static_cast<std::size_t>(found.identical) && found.same_names()) {
    std::cout << "identical: " << both << " tensors, bit for bit\n";
    return;
  }
  std::cout << both << " tensors in both: " << found.identical << " identical bit for bit, " << found.retyped.size()
            << " of equal values in another type, " << found.different.size() << " of other values, "
            << found.shapes.size() << " of another shape; " << found.only_a.size() << " only in A, "
            << found.only_b.size() << " only in B\n";
  print_names("  only in A: ", found.only_a);
  print_names("  only in B: ", found.only_b);
  for (std::size_t i = 0; i < std::min(found.shapes.size(), kShown); ++i) {
    const auto& [name, a, b] = found.shapes[i];
    std::cout << "  shapes: " << printable(name) << " " << shape_text(a) << " | " << shape_text(b) << "\n";
  }
  if (found.different.empty()) return;
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < std::min(found.different.size(), kShown); ++i) {
    const auto& [name, a, b, apart] = found.different[i];
    rows.push_back({printable(name), text(dtype_name(a), a == b ? "" : text(" | ", dtype_name(b))),
                    short_number(apart.largest), short_number(apart.relative), std::to_string(apart.differ)});
  }
  std::cout << "\n" << aligned({"tensor", "dtype", "largest difference", "relative", "elements"}, rows, 2);
  if (found.different.size() > kShown) std::cout << "and " << found.different.size() - kShown << " more\n";
}

std::vector<Change> setting_differences(const FrozenVit& a, const FrozenVit& b) {
  return diff(BackboneConfig{a.vit->config(), a.stats, a.kernel}, BackboneConfig{b.vit->config(), b.stats, b.kernel});
}

std::string framing_text(const FrozenVit& model) {
  return text(name_of(kFits, model.framing.fit), " after resizing to ",
              model.framing.resized > 0 ? model.framing.resized : model.vit->config().image_side,
              model.framing.truncates ? ", offsets rounded down" : ", offsets rounded to even");
}

void print_features(const FeatureComparison& found) {
  if (!found.why_not.empty()) {
    std::cout << "features are not compared: " << found.why_not << "\n";
    return;
  }
  std::cout << "\nfeatures of " << found.images << " images, in double\n";
  const auto cosine = [](double value) { return std::isnan(value) ? std::string("-") : text(value); };
  std::vector<std::vector<std::string>> rows;
  for (const LayerComparison& layer : found.layers)
    rows.push_back({layer.layer, short_number(layer.largest), short_number(layer.relative), cosine(layer.class_cosine),
                    cosine(layer.mean_cosine)});
  std::cout << aligned({"layer", "largest difference", "relative", "class cosine", "mean cosine"}, rows, 1);
}

nlohmann::json weights_json(const WeightsComparison& found) {
  const auto pairs = [](const std::vector<WeightsComparison::Pair>& list) {
    nlohmann::json out = nlohmann::json::array();
    for (const auto& [name, a, b, apart] : list)
      out.push_back({{"name", name},
                     {"dtypes", {dtype_name(a), dtype_name(b)}},
                     {"largest", apart.largest},
                     {"relative", apart.relative},
                     {"elements", apart.differ}});
    return out;
  };
  nlohmann::json out = {{"identical", found.identical},    {"only_a", found.only_a},
                        {"only_b", found.only_b},          {"different", pairs(found.different)},
                        {"retyped", pairs(found.retyped)}, {"shapes", nlohmann::json::array()}};
  for (const auto& [name, a, b] : found.shapes) out["shapes"].push_back({{"name", name}, {"a", a}, {"b", b}});
  return out;
}

nlohmann::json features_json(const FeatureComparison& found) {
  nlohmann::json out = {{"images", found.images}, {"why_not", found.why_not}, {"layers", nlohmann::json::array()}};
  for (const LayerComparison& layer : found.layers)
    out["layers"].push_back({{"layer", layer.layer},
                             {"largest", layer.largest},
                             {"relative", layer.relative},
                             {"class_cosine", layer.class_cosine},
                             {"mean_cosine", layer.mean_cosine}});
  return out;
}

// The same images for both, large enough for the larger input.
std::unique_ptr<Source> images_for(const Side& a, const Side& b, std::span<const std::string> named, int64_t scenes) {
  const int64_t side = std::max(a.model->vit->config().image_side, b.model->vit->config().image_side);
  const std::vector<std::string> shapes = {"shapes"};
  return open_images(named.empty() ? std::span<const std::string>(shapes) : named,
                     {.path = {},
                      .class_captions = {},
                      .cache = default_cache_folder(),
                      .size = scenes,
                      .side = static_cast<int>(std::clamp<int64_t>(side, 8, 2048))});
}

class Comparison {
 public:
  Comparison(const std::string& a, const std::string& b) : a_(open_side(a)), b_(open_side(b)) {
    print_side("A", a_);
    print_side("B", b_);
    if (a_.model.has_value() != b_.model.has_value()) std::cout << "   " << (a_.model ? b_ : a_).why_no_model << "\n";
  }

  void weights() {
    json_["as_networks"] = false;
    WeightsComparison found;
    if (!have_equal_names(*a_.file, *b_.file) && a_.model && b_.model) {
      std::cout << "the files hold tensors of other names; compared as networks, under Lacuna's names\n";
      json_["as_networks"] = true;
      const NamedTensors left = canonical_tensors(*a_.model), right = canonical_tensors(*b_.model);
      found = compare_tensors(views_of(left), views_of(right));
    } else {
      found = compare_tensors(tensors_of(*a_.file), tensors_of(*b_.file));
    }
    print_weights(found);
    json_["weights"] = weights_json(found);
    weights_ = std::move(found);
  }

  void settings() {
    if (!a_.model || !b_.model) return;
    json_["settings"] = nlohmann::json::array();
    std::vector<Change> changes = setting_differences(*a_.model, *b_.model);
    if (a_.model->framing != b_.model->framing)
      changes.push_back({"framing", framing_text(*a_.model), framing_text(*b_.model)});
    for (const Change& change : changes) {
      std::cout << "  setting " << change.key << ": " << change.before << " | " << change.after << "\n";
      json_["settings"].push_back({{"key", change.key}, {"a", change.before}, {"b", change.after}});
    }
  }

  void features(std::span<const std::string> images, int64_t scenes) {
    if (images.empty() && scenes == 0) return;
    if (a_.model && b_.model) {
      features_ = compare_features(*a_.model, *b_.model, *images_for(a_, b_, images, scenes));
    } else {
      features_.why_not = a_.model ? b_.why_no_model : a_.why_no_model;
    }
    check(images.empty() || features_.why_not.empty(), "compare: features cannot be compared: ", features_.why_not);
    print_features(features_);
    json_["features"] = features_json(features_);
  }

  int verdict(double tolerance, const std::string& json) {
    const bool equal = weights_.within(tolerance) && features_.largest_relative() <= tolerance;
    std::cout << "\n" << (equal ? "equal" : "different") << " (tolerance " << tolerance << ")\n";
    json_["equal"] = equal;
    json_["tolerance"] = tolerance;
    if (!json.empty())
      write_file_atomic(json, json_.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    return equal ? 0 : static_cast<int>(ExitCode::kDifferent);
  }

 private:
  Side a_, b_;
  WeightsComparison weights_;
  FeatureComparison features_;
  nlohmann::json json_;
};

}  // namespace

std::string compare_keys() { return describe(CompareConfig{}); }

int compare_command(Arguments arguments) {
  const CommandLine line = split(arguments);
  CompareConfig c;
  Settings settings;
  settings.override_with(line.settings);
  apply(settings, c);
  check(line.words.size() >= 2, "compare: expected two files, folders or models: lacuna compare A B [IMAGES…]");
  settle_threads(c.threads);
  Comparison comparison(line.words[0], line.words[1]);
  comparison.weights();
  comparison.settings();
  comparison.features(std::span(line.words).subspan(2), c.scenes);
  return comparison.verdict(c.tolerance, c.json);
}

}  // namespace lacuna
