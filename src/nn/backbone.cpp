#include "nn/backbone.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/frozen_vit.h"
#include "nn/init.h"
#include "nn/weights/dialect.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/hub_cache.h"
#include "nn/weights/vit_fields.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kWeights = "model.safetensors";
constexpr std::size_t kMaxPointerBytes = 256;

// The rules for a Vit of ours, whose tensors have no prefix, in an exported folder. A network without key bias finds
// zeros in its place where timm's ViT needs some.
KeyMap export_names(const BackboneConfig& config, const Vit& vit) {
  PortableVit net = portable({.config = config, .vit = vit, .origin = ""});
  const QkvBias own = config.vit.qkv_bias;
  rewrite_for_timm(net);
  KeyMap map = names_in(timm_dialect(net.vit), net.vit, net.tensors);
  for (KeyRule& rule : map.rules) {
    for (std::string& name : rule.ours) name = name.substr(std::string_view("vit.").size());
    const size_t bias = rule.ours[0].rfind("qkv.bias");
    if (own != QkvBias::kQueryValue || bias == std::string::npos) continue;
    const std::string attn = rule.ours[0].substr(0, bias);
    rule.ours = {attn + "q_bias", "0", attn + "v_bias"};
  }
  return map;
}

// Fixed positions are rebuilt, yet the file carries them, because timm wants them.
NamedTensors vit_tensors(const Vit& vit) { return named_tensors(*vit, "", /*buffers=*/true); }

BackboneConfig config_from(const Json& json, const std::string& source) {
  BackboneConfig config;
  apply(Settings::from_json(json, source), config);  // a field that an older writer did not know keeps its default
  validate(config.vit);
  const auto channels = static_cast<size_t>(config.vit.channels);
  check(config.stats.mean.size() == channels && config.stats.std.size() == channels, source, ": mean and std are of ",
        config.stats.mean.size(), " and ", config.stats.std.size(), " channels, but the network sees ", channels);
  return config;
}

KeyMap own_names(const Vit& vit) {
  KeyMap map;
  for (const auto& [name, tensor] : vit_tensors(vit)) map.rules.push_back({{name}, {name}});
  return map;
}

Backbone open_export(const fs::path& folder) {
  Backbone out{.config = config_from(read_json(folder / kOwnConfig), (folder / kOwnConfig).string()),
               .vit = nullptr,
               .origin = folder.string()};
  out.vit = Vit(out.config.vit);
  const TensorFile file(folder / kWeights);
  const bool ours = file.has("patch_embed.weight");  // else timm's
  import_weights(file, ours ? own_names(out.vit) : export_names(out.config, out.vit), vit_tensors(out.vit));
  return out;
}

Backbone open_checkpoint(const fs::path& folder) {
  const Json state = read_json(folder / "state.json");
  check(state.contains("backbone"), (folder / "state.json").string(),
        ": key 'backbone' is missing; not a checkpoint of a ViT");
  Backbone out{.config = config_from(state["backbone"], (folder / "state.json").string()),
               .vit = nullptr,
               .origin = folder.string()};
  out.vit = Vit(out.config.vit);
  const TensorFile file(folder / "state.safetensors");
  KeyMap map;
  for (const auto& [name, tensor] : named_tensors(*out.vit)) map.rules.push_back({{name}, {kCheckpointVit + name}});
  map.unneeded = {{"", "other parts of the training state"}};
  import_weights(file, map, named_tensors(*out.vit));
  return out;
}

Backbone open_foreign(const fs::path& path) {
  const FrozenVit frozen = open_frozen_vit(path);
  return {.config = {frozen.vit->config(), frozen.stats, frozen.kernel}, .vit = frozen.vit, .origin = path.string()};
}

fs::path newest_checkpoint(const fs::path& run) {
  const fs::path last = run / "checkpoints" / "last";
  return fs::exists(last) ? run / "checkpoints" / read_file(last, kMaxPointerBytes) : fs::path();
}

}  // namespace

void BackboneConfig::fields(Fields& f) {
  f.add("channels", vit.channels, {.help = "of the images", .min = 1, .max = static_cast<double>(kMaxChannels)});
  f.add("image_side", vit.image_side, {.help = "side of the input", .unit = "pixels", .min = 1, .max = 8192});
  f.add("patch_side", vit.patch_side, {.help = "side of a patch", .unit = "pixels", .min = 1, .max = 512});
  vit_fields(f, vit);
  f.add("class_token", vit.class_token, {.help = "a token beside the patches"});
  f.add("final_norm", vit.final_norm, {.help = "a norm after the blocks"});
  f.add("kernel", kernel, kKernels, {.help = "how images are brought to size"});
  f.add("mean", stats.mean, {.help = "mean of the pixels, scaled to [0, 1]"});
  f.add("std", stats.std, {.help = "standard deviation of the pixels", .min = 0, .above_min = true});
}

std::string write_backbone(const fs::path& folder, const Vit& vit, const BackboneConfig& config) {
  PortableVit net = portable({.config = config, .vit = vit, .origin = ""});
  std::string reason = why_not_timm(net);
  if (reason.empty()) {
    write_timm_folder(folder, net);
    return reason;
  }
  rewrite_for_timm(net);
  fs::create_directories(folder);
  write_weights(folder / kWeights, named_in(timm_dialect(net.vit), net, "the export"), at::kFloat);
  write_json_atomic(folder / kOwnConfig, to_json(*net.own));
  return reason;
}

void write_plain_backbone(const fs::path& folder, const PortableVit& net, at::ScalarType dtype) {
  check(net.head.classes == 0 && !net.head.norm && net.head.pool != Pool::kAttention && net.embed == 0,
        "export: our own file holds the network without classifier and projection; leave them out by head=false");
  NamedTensors tensors = net.tensors;
  for (auto& [name, tensor] : tensors) name = name.substr(std::string_view("vit.").size());
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  fs::create_directories(folder);
  write_weights(folder / kWeights, tensors, dtype);
  write_json_atomic(folder / kOwnConfig, to_json(BackboneConfig{net.vit, net.stats, net.kernel}));
}

bool is_our_own(const fs::path& path) {
  if (fs::is_regular_file(path)) return path.filename() == "last";
  for (const char* name : {kOwnConfig, "state.json", "export", "checkpoints"}) {
    if (fs::exists(path / name)) return true;
  }
  return false;
}

Backbone open_backbone(const fs::path& asked) {
  const fs::path named = resolve_model(asked);
  const bool is_last = fs::is_regular_file(named) && named.filename() == "last";  // the pointer beside the checkpoints
  const fs::path path = is_last ? named.parent_path() / read_file(named, kMaxPointerBytes) : named;
  check(fs::exists(path), path.string(),
        ": does not exist; expected a run, a checkpoint, an exported backbone or weights of another program");
  Backbone out;
  if (fs::exists(path / kOwnConfig)) {
    out = open_export(path);
  } else if (fs::exists(path / "state.json")) {
    out = open_checkpoint(path);
  } else if (fs::exists(path / "export")) {
    out = open_backbone(path / "export");
  } else if (const fs::path newest = newest_checkpoint(path); !newest.empty()) {
    out = open_checkpoint(newest);
  } else {
    check(!fs::is_empty(path), path.string(),
          ": holds none of lacuna.json (exported backbone), state.json (checkpoint), export/ or checkpoints/ (run), "
          "model.safetensors (another program's weights)");
    out = open_foreign(path);
  }
  out.vit->eval();
  return out;
}

Backbone random_like(const Backbone& backbone, uint64_t seed) {
  Backbone out{.config = backbone.config, .vit = Vit(backbone.config.vit), .origin = "random weights"};
  initialize(*out.vit, seed, InitScheme::kCae, "student.vit");
  out.vit->eval();
  return out;
}

}  // namespace lacuna
