#include "eval/features.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "train/batch.h"
#include "train/precision.h"

namespace lacuna {
namespace {

void validate(const FeatureConfig& config) {
  check(config.batch > 0, "features.batch: expected at least 1 sample, found ", config.batch);
  check(config.threads > 0, "features.threads: expected at least 1 thread, found ", config.threads);
  check(config.crop_ratio > 0 && config.crop_ratio <= 1, "features.crop_ratio: expected a share in (0, 1], found ",
        config.crop_ratio);
  check(!config.max_samples || *config.max_samples > 0, "features.max_samples: expected at least 1 sample, found ",
        config.max_samples.value_or(0));
  check(config.max_bad_share >= 0 && config.max_bad_share <= 1,
        "features.max_bad_share: expected a share in [0, 1], found ", config.max_bad_share);
}

// All ids, or `count` of them drawn without replacement, ascending (Knuth's selection sampling). A random subset, since
// the first ones of a folder are of few classes, and evenly spaced ones of a cyclic list are too. The seed is fixed:
// every run of every backbone looks at the same samples.
std::vector<std::int64_t> choose_ids(std::int64_t size, std::int64_t count) {
  std::vector<std::int64_t> ids;
  ids.reserve(static_cast<std::size_t>(count));
  Rng rng(0, Purpose::kProbe);
  for (std::int64_t id = 0; id < size; ++id) {
    const std::int64_t wanted = count - std::ssize(ids);
    if (wanted == size - id || rng.integer(0, size - id - 1) < wanted) ids.push_back(id);
  }
  return ids;
}

// pixels [b,S,S,I] -> [b,D] float32, on the device.
at::Tensor encode_views(Vit vit, const BackboneConfig& backbone, const std::vector<std::uint8_t>& pixels, int64_t batch,
                        int spectrum, const FeatureConfig& config) {
  const c10::InferenceMode no_graph;
  const at::Device device = vit->cls_token.device();
  const ViewSpec view{.side = static_cast<int>(backbone.vit.image_side),
                      .kernel = backbone.kernel,
                      .stats = backbone.stats,
                      .spectrum = spectrum};
  const at::Tensor images = normalize_pixels(pixels, batch, view, device);
  const AutocastScope autocast(device.type(), config.bf16);
  const at::Tensor tokens = vit->encode(images).to(at::kFloat);  // [b,1+N,D]
  return config.pool == TokenPool::kClass ? tokens.select(1, 0) : tokens.slice(1, 1).mean(1);
}

void note_bad(Features& out, const Source& source, const ViewBatch& batch) {
  out.left_out += std::ssize(batch.bad);
  for (const ViewBatch::Bad& bad : batch.bad) {
    if (out.bad.size() < kNamedBadSamples) out.bad.push_back({source.name(bad.id), bad.reason});
  }
}

void check_finite(const at::Tensor& values, const std::string& origin) {
  const int64_t rows = values.size(0), broken = rows - at::isfinite(values).all(1).sum().item<int64_t>();
  check(broken == 0, origin, ": the features of ", broken, " of ", rows,
        " samples are not finite; the weights have diverged or the file is damaged");
}

std::string only_in(const std::vector<std::string>& here, const std::vector<std::string>& there) {
  std::vector<std::string> known = there;
  std::sort(known.begin(), known.end());
  std::string out;
  std::size_t found = 0;
  for (const std::string& name : here) {
    if (std::binary_search(known.begin(), known.end(), name)) continue;
    if (++found <= 3) out += text(found > 1 ? ", '" : "'", name, "'");
  }
  return found > 3 ? text(out, " and ", found - 3, " more") : out;
}

void check_labels(const Features& features, const char* which) {
  const auto classes = static_cast<int64_t>(features.classes.size());
  const at::Tensor valid = features.labels.ge(0).logical_and_(features.labels.lt(classes));
  const int64_t missing = features.labels.size(0) - valid.sum().item<int64_t>();
  check(missing == 0, which, " data: ", missing, " of ", features.labels.size(0), " samples have no label among the ",
        classes, " classes; evaluation needs one for each");
}

}  // namespace

void FeatureConfig::fields(Fields& f) {
  f.add("pool", pool, kTokenPools, {.help = "what stands for an image"});
  f.add("batch", batch, {.help = "images of one forward pass", .min = 1, .max = 65536});
  f.add("threads", threads, {.help = "threads that decode", .min = 1, .max = 1024});
  f.add("crop_ratio", crop_ratio,
        {.help = "centre crop as a share of the resized short side", .min = 0, .max = 1, .above_min = true});
  f.add("max_samples", max_samples, {.help = "look at a fixed random subset of this size; auto is all", .min = 1});
  f.add("max_bad_share", max_bad_share,
        {.help = "share of undecodable samples that is left out without failing", .min = 0, .max = 1});
}

std::int64_t sample_count(const Source& source, const FeatureConfig& config) {
  return std::min(source.size(), config.max_samples.value_or(source.size()));
}

Features extract_features(const Backbone& backbone, const Source& source, const FeatureConfig& config,
                          const EvalProgress& progress) {
  validate(config);
  const std::int64_t total = sample_count(source, config);
  check(total > 0, "the evaluation data hold no samples");
  const std::vector<std::int64_t> ids = choose_ids(source.size(), total);
  const std::int64_t side = backbone.config.vit.image_side;
  const FramedViewSpec view{static_cast<int>(side), backbone.config.kernel, center_crop(side, config.crop_ratio),
                            seen_spectrum(backbone.config.vit.channels, source)};
  BadShare share("features.max_bad_share", config.max_bad_share, total);
  ViewBatches batches(source, ids, view, config.threads, config.batch, share);
  Features out{.values = at::empty({total, backbone.config.vit.width}, at::kFloat), .classes = source.classes()};
  std::vector<std::int64_t> labels;
  for (ViewBatch batch; batches.next(batch);) {
    note_bad(out, source, batch);
    if (batch.size() > 0) {
      out.values.narrow(0, std::ssize(labels), batch.size())
          .copy_(encode_views(backbone.vit, backbone.config, batch.pixels, batch.size(), view.spectrum, config));
    }
    for (const std::int64_t id : batch.ids) labels.push_back(source.label(id));
    if (progress) progress(batch.done, total);
  }
  out.values = out.values.narrow(0, 0, std::ssize(labels));
  out.labels = torch::tensor(labels, at::kLong);
  check_finite(out.values, backbone.origin);
  return out;
}

void check_same_classes(const std::vector<std::string>& train, const std::vector<std::string>& val) {
  check(!train.empty() && !val.empty(), "evaluation needs classes, and the ", train.empty() ? "training" : "validation",
        " data have none; use a folder with one sub-folder per class or a list with labels");
  if (train == val) return;
  const std::string missing = only_in(train, val), unknown = only_in(val, train);
  if (missing.empty() && unknown.empty()) fail("training and validation data have the same classes in another order");
  fail("training and validation data must have the same classes, found ", train.size(), " and ", val.size(),
       missing.empty() ? "" : "; only in the training data: ", missing,
       unknown.empty() ? "" : "; only in the validation data: ", unknown);
}

void check_comparable(const Features& train, const Features& val) {
  check_same_classes(train.classes, val.classes);
  check(train.values.size(0) > 0 && val.values.size(0) > 0, "evaluation needs samples on both sides, found ",
        train.values.size(0), " for training and ", val.values.size(0), " for validation");
  check(train.values.size(1) == val.values.size(1), "training features have width ", train.values.size(1),
        ", validation features ", val.values.size(1), "; both must come from one backbone");
  check_labels(train, "training");
  check_labels(val, "validation");
}

}  // namespace lacuna
