#include "eval/embed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "eval/view_batches.h"
#include "io/files.h"
#include "nn/backbone.h"
#include "train/batch.h"
#include "train/precision.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kVersion = 1;                      // of the index beside a working file
constexpr std::uint64_t kMaxIndex = 1ull << 30;  // bytes; it names every image that could not be read

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

fs::path beside(const fs::path& target, const char* ending) { return target.string() + ending; }

RowFormat format_of(const EmbedConfig& config, const fs::path& target) {
  if (config.to) return *config.to;
  for (const Named<RowFormat>& each : kRowFormats) {
    if (target.extension() == "." + std::string(each.name)) return each.value;
  }
  fail("out: expected a file that ends in .npz, .safetensors, .csv or .jsonl, or the format in to=, found '",
       target.string(), "'");
}

struct TypeRow {
  FeatureType type;
  DType stored;
  at::ScalarType scalar;
};
constexpr TypeRow kTypes[] = {{FeatureType::kF64, DType::kF64, at::kDouble},
                              {FeatureType::kF32, DType::kF32, at::kFloat},
                              {FeatureType::kF16, DType::kF16, at::kHalf},
                              {FeatureType::kBf16, DType::kBF16, at::kBFloat16}};
const TypeRow& type_row(FeatureType type) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeRow& row) { return row.type == type; });
}

FramedViewSpec view_of(const FrozenVit& model, const Source& images, const EmbedConfig& config) {
  const std::int64_t side = model.vit->config().image_side;
  return {static_cast<int>(side), model.kernel,
          config.crop_ratio ? center_crop(side, *config.crop_ratio) : model.framing,
          seen_spectrum(model.vit->config().channels, images)};
}

nlohmann::json preprocessing_of(const FrozenVit& model, const Source& images, const EmbedConfig& config) {
  const FramedViewSpec view = view_of(model, images, config);
  const std::int64_t resized = view.framing.resized > 0 ? view.framing.resized : view.side;
  return {{"side", view.side},
          {"fit", name_of(kFits, view.framing.fit)},
          {"resized", resized},
          {"fill", view.framing.fill},
          {"offset", view.framing.truncates ? "rounded down" : "rounded to even"},
          {"interpolation", name_of(kKernels, view.kernel)},
          {"mean", model.stats.mean},
          {"std", model.stats.std}};
}

// All that the values of the rows depend on, in words: a working file is gone on with only if all of it is the same.
nlohmann::ordered_json asked_for(const FrozenVit& model, const Source& images, const EmbedConfig& config,
                                 const RowPlan& plan, const std::vector<Tap>& taps) {
  nlohmann::ordered_json out = {{"version", kVersion},
                                {"model", plan.metadata.at("model_hash")},
                                {"preprocessing", preprocessing_of(model, images, config)},
                                {"list of images", text(images.size(), " images, ", images.fingerprint())},
                                {"format", name_of(kRowFormats, plan.format)},
                                {"features", nlohmann::json::array()},
                                {"dtype", name_of(kFeatureTypes, config.dtype)},
                                {"normalize", config.normalize},
                                {"bad", name_of(kBadImages, config.bad)},
                                {"batch", config.batch},
                                {"precision", config.bf16 ? "bf16" : "f32"},
                                {"device", text(model.vit->patch_embed->weight.device())}};
  for (const Tap& tap : taps) out["features"].push_back(tap.name + (tap.block ? text("@", *tap.block + 1) : ""));
  return out;
}

std::map<std::string, std::string> about(const FrozenVit& model, const Source& images, const EmbedConfig& config,
                                         const std::vector<Tap>& taps) {
  std::string layers;
  for (const Tap& tap : taps) {
    layers += text(layers.empty() ? "" : "; ", tap.name, ": ");
    layers += !tap.block       ? "after the final norm"
              : *tap.block < 0 ? "input of the first block"
                               : text("output of block ", *tap.block + 1);
  }
  return {{"model", printable(model.path.string(), 4096)},
          {"model_family", model.family},
          {"model_hash", weights_hash(model)},
          {"preprocessing", preprocessing_of(model, images, config).dump()},
          {"features", layers},
          {"unit_length", config.normalize ? "true" : "false"}};
}

RowPlan plan_rows(const FrozenVit& model, const Source& images, const EmbedConfig& config, const std::vector<Tap>& taps,
                  const fs::path& target) {
  RowPlan plan{.format = format_of(config, target),
               .arrays = {},
               .max_rows = images.size(),
               .metadata = about(model, images, config, taps)};
  for (const Tap& tap : taps) plan.arrays.push_back({tap.name, type_row(config.dtype).stored, tap.shape});
  return plan;
}

// One embedding of a source: where it stands, and the file it writes.
class Embedding {
 public:
  Embedding(FrozenVit& model, const Source& images, const EmbedConfig& config, const EmbedCall& call)
      : model_(model),
        images_(images),
        config_(config),
        call_(call),
        taps_(choose_taps(model, config.features, config.layer)),
        plan_(plan_rows(model, images, config, taps_, call.target)),
        asked_(asked_for(model, images, config, plan_, taps_)) {
    const fs::path work = beside(call_.target, ".partial");
    const std::optional<nlohmann::json> saved = fs::exists(work) && fs::exists(index()) ? read_index() : std::nullopt;
    rows_ = open_row_file(work, plan_, saved ? &saved->at("file") : nullptr);
    if (!saved) fs::remove(index());
  }

  EmbedResult run() {
    const auto start = Clock::now();
    BadShare share("max_bad_share", config_.max_bad_share, images_.size(), std::ssize(bad_));
    std::vector<std::int64_t> ids(static_cast<std::size_t>(images_.size() - done_));
    std::iota(ids.begin(), ids.end(), done_);
    ViewBatches batches(images_, std::move(ids), view_of(model_, images_, config_), config_.workers.value_or(1),
                        config_.batch, share);
    model_.vit->to(config_.dtype == FeatureType::kF64 ? at::kDouble : at::kFloat);
    if (model_.projection) model_.projection->to(model_.vit->patch_embed->weight.scalar_type());
    const std::int64_t begun_at = done_;
    bool stopped = false;
    auto saved_at = Clock::now();
    ViewBatch batch;
    try {
      while (!stopped && batches.next(batch)) {
        add(batch);
        done_ = begun_at + batch.done;
        stopped = done_ < images_.size() && call_.stop && call_.stop();
        if (stopped || seconds_since(saved_at) >= config_.save_every) {
          save();
          saved_at = Clock::now();
        }
        report(begun_at, seconds_since(start), batches.waited_seconds());
      }
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadData) throw;
      save();
      note_bad(batch);
      write_skipped();
      throw;
    }
    if (!stopped) finish();
    return {row_count(), std::ssize(bad_), done_, begun_at, seconds_since(start), stopped};
  }

 private:
  struct Bad {
    std::int64_t id;
    std::string reason;
  };

  fs::path index() const { return beside(call_.target, ".partial.json"); }
  std::int64_t row_count() const { return done_ - (config_.bad == BadImages::kLeaveOut ? std::ssize(bad_) : 0); }

  std::optional<nlohmann::json> read_index() {
    nlohmann::json saved = read_json(index(), kMaxIndex);
    try {
      check_same(nlohmann::ordered_json(saved.at("asked")));
      done_ = saved.at("done").get<std::int64_t>();
      for (const nlohmann::json& bad : saved.at("bad")) bad_.push_back({bad.at(0), bad.at(1)});
      if (done_ < 0 || done_ > images_.size() || !saved.at("file").is_object())
        fail_data(index().string(), ": expected the place in a list of ", images_.size(), " images, found ", done_);
    } catch (const nlohmann::json::exception&) {
      fail_data(index().string(), ": expected what an embedding left here; remove it and ",
                beside(call_.target, ".partial").string(), " to begin anew");
    }
    return saved;
  }

  void check_same(const nlohmann::ordered_json& before) const {
    for (const auto& [key, now] : asked_.items()) {
      const nlohmann::ordered_json then = before.value(key, nlohmann::ordered_json());
      if (then == now) continue;
      fail(beside(call_.target, ".partial").string(), " was begun with another ", key, " (", printable(then.dump()),
           "; now ", now.dump(), "); repeat the command as it was, or remove the file and its .json to begin anew");
    }
  }

  void save() {
    nlohmann::json bad = nlohmann::json::array();
    for (const Bad& each : bad_) bad.push_back({each.id, each.reason});
    const nlohmann::json file = rows_->save();
    write_json_atomic(index(), {{"asked", asked_}, {"done", done_}, {"bad", std::move(bad)}, {"file", file}});
  }

  std::vector<at::Tensor> features_of(const ViewBatch& batch) {
    const at::Tensor& weight = model_.vit->patch_embed->weight;
    const ViewSpec view{.side = static_cast<int>(model_.vit->config().image_side),
                        .kernel = model_.kernel,
                        .stats = model_.stats,
                        .spectrum = seen_spectrum(model_.vit->config().channels, images_)};
    const at::Tensor pixels = normalize_pixels(batch.pixels, batch.size(), view, weight.device(), weight.scalar_type());
    const AutocastScope autocast(weight.device().type(), config_.bf16);
    std::vector<at::Tensor> values = take(model_, pixels, taps_);
    for (size_t i = 0; i < values.size(); ++i) {
      at::Tensor& value = values[i];
      value = value.to(weight.scalar_type());
      if (config_.normalize) value = unit_length(value);
      value = value.to(at::kCPU, type_row(config_.dtype).scalar).contiguous();
      check_finite(value, batch, taps_[i].name);
    }
    return values;
  }

  void check_finite(const at::Tensor& value, const ViewBatch& batch, const std::string& name) const {
    const at::Tensor fine = at::isfinite(value).flatten(1).all(1);  // [b]
    if (fine.all().item<bool>()) return;
    const auto first = fine.logical_not().nonzero()[0].item<int64_t>();
    fail(model_.path.string(), ": feature ", name, " of ", images_.name(batch.ids[static_cast<size_t>(first)]),
         " is not finite in ", name_of(kFeatureTypes, config_.dtype),
         "; the weights have diverged, or this type is too narrow for them");
  }

  // Rows of the images that were read and, if asked for, rows of NaN for the others, in the order of the source.
  void add(const ViewBatch& batch) {
    std::vector<at::Tensor> values;
    if (batch.size() > 0) values = features_of(batch);
    std::vector<std::int64_t> ids = batch.ids;
    note_bad(batch);
    if (config_.bad == BadImages::kNan && !batch.bad.empty()) {
      for (const ViewBatch::Bad& bad : batch.bad) ids.push_back(bad.id);
      values = with_nan(values, ids, batch.size());
      std::sort(ids.begin(), ids.end());
    }
    write(ids, values);
  }

  // `values` hold rows for the first `good` of the ids; the result has a row for each id, by rising id.
  std::vector<at::Tensor> with_nan(std::vector<at::Tensor> values, const std::vector<std::int64_t>& ids,
                                   std::int64_t good) const {
    values.resize(taps_.size());
    const at::Tensor order = torch::tensor(ids, at::kLong).argsort();
    for (size_t i = 0; i < taps_.size(); ++i) {
      std::vector<int64_t> shape = taps_[i].shape;
      shape.insert(shape.begin(), std::ssize(ids));
      const at::Tensor all = at::full(shape, std::numeric_limits<double>::quiet_NaN(), type_row(config_.dtype).scalar);
      if (good > 0) all.narrow(0, 0, good).copy_(values[i]);
      values[i] = all.index_select(0, order);
    }
    return values;
  }

  void write(const std::vector<std::int64_t>& ids, const std::vector<at::Tensor>& values) {
    if (ids.empty()) return;
    std::vector<std::string> names;
    names.reserve(ids.size());
    for (const std::int64_t id : ids) names.push_back(images_.name(id));
    std::vector<std::span<const std::byte>> rows;
    rows.reserve(values.size());
    for (const at::Tensor& value : values)
      rows.emplace_back(static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes());
    rows_->append(names, rows);
  }

  void report(std::int64_t begun_at, double seconds, double waited) const {
    if (!call_.progress || seconds <= 0) return;
    call_.progress({done_, images_.size(), static_cast<double>(done_ - begun_at) / seconds, waited / seconds});
  }

  void note_bad(const ViewBatch& batch) {
    for (const ViewBatch::Bad& bad : batch.bad) bad_.push_back({bad.id, printable(bad.reason, 1000)});
  }

  void write_skipped() const {
    const fs::path skipped = beside(call_.target, ".skipped.jsonl");
    std::string lines;
    for (const Bad& bad : bad_) {
      const nlohmann::json line = {{"index", bad.id}, {"name", images_.name(bad.id)}, {"reason", bad.reason}};
      lines += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    }
    bad_.empty() ? remove_tree(skipped) : write_file_atomic(skipped, lines);
  }

  void finish() {
    write_skipped();
    save();  // a kill while the file is completed loses nothing
    rows_->finish(call_.target, [ids = kept(), this](std::int64_t row) {
      return images_.name(ids.empty() ? row : ids[static_cast<size_t>(row)]);
    });
    fs::remove(index());
  }

  // The image of each row; empty where every image has one.
  std::vector<std::int64_t> kept() const {
    std::vector<std::int64_t> ids;
    if (config_.bad == BadImages::kNan || bad_.empty()) return ids;
    auto next_bad = bad_.begin();
    for (std::int64_t id = 0; id < images_.size(); ++id) {
      const bool is_bad = next_bad != bad_.end() && next_bad->id == id;
      is_bad ? static_cast<void>(++next_bad) : ids.push_back(id);
    }
    return ids;
  }

  FrozenVit& model_;
  const Source& images_;
  const EmbedConfig& config_;
  const EmbedCall& call_;
  const std::vector<Tap> taps_;
  const RowPlan plan_;
  const nlohmann::ordered_json asked_;
  std::unique_ptr<RowFile> rows_;
  std::int64_t done_ = 0;  // images looked at
  std::vector<Bad> bad_;   // by rising id
};

}  // namespace

void EmbedConfig::fields(Fields& f) {
  f.add(
      "features", features,
      {.help = "class, mean, patches, projected (a CLIP's embedding), by commas; empty is class, or mean without one"});
  f.add("layer", layer,
        {.help = "last (after the final norm), the output of block N (from 1; 0: what enters the first; -1: the last "
                 "block's), all (every block), by commas"});
  f.add("to", to, kRowFormats, {.help = "format; auto is told by the file's ending"});
  f.add("dtype", dtype, kFeatureTypes, {.help = "type of the numbers"});
  f.add("normalize", normalize, {.help = "every vector at length 1"});
  f.add("crop_ratio", crop_ratio,
        {.help = "centre crop as a share of the resized short side; auto is how the model frames its images",
         .min = 0,
         .max = 1,
         .above_min = true});
  f.add("batch", batch, {.help = "images of one forward pass", .min = 1, .max = 65536});
  f.add("workers", workers, {.help = "threads that decode; auto is half of the cores", .min = 1, .max = 1024});
  f.add("bad", bad, kBadImages, {.help = "images that cannot be read"});
  f.add("max_bad_share", max_bad_share, {.help = "share of them that is put up with", .min = 0, .max = 1});
  f.add("save_every", save_every,
        {.help = "how often progress is made durable", .unit = "seconds", .min = 0, .max = 86400});
  f.add("overwrite", overwrite, {.help = "replace the file if it exists"});
}

std::string weights_hash(const FrozenVit& model) {
  ContentHash hash;
  NamedTensors tensors = named_tensors(*model.vit, "vit.", /*buffers=*/true);
  if (model.projection) {
    for (const auto& each : named_tensors(*model.projection, "projection.")) tensors.push_back(each);
  }
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
    hash.update(std::as_bytes(std::span(name)));
    hash.update({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  }
  return hash.hex();
}

EmbedResult embed(FrozenVit& model, const Source& images, const EmbedConfig& config, const EmbedCall& call) {
  check(images.size() > 0, "nothing to embed: no image was found");
  check(config.overwrite || !fs::exists(call.target), call.target.string(),
        ": exists; choose another name, or replace it with overwrite=true");
  check(!config.bf16 || config.dtype != FeatureType::kF64,
        "precision=bf16 contradicts dtype=f64; leave one of them out");
  return Embedding(model, images, config, call).run();
}

}  // namespace lacuna
