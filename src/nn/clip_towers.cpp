#include "nn/clip_towers.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "nn/layers.h"
#include "nn/shapes.h"
#include "nn/weights/json_reader.h"
#include "nn/weights/vit_config_files.h"
#include "nn/weights/vit_names.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kMaxDepth = 1024;

double about_parameters(const TextConfig& c) {
  const auto width = static_cast<double>(c.width);
  return static_cast<double>(c.depth) * width * (4 * width + 2 * static_cast<double>(c.hidden)) +
         width * static_cast<double>(c.context + c.vocabulary);
}

std::vector<int64_t> matrix(const TensorFile& file, const std::string& name) {
  check(file.has(name), file.path().string(), ": tensor '", name, "' of CLIP's text tower is missing");
  const std::vector<int64_t>& shape = file.at(name).shape;
  check(shape.size() == 2 && shape[0] > 0 && shape[1] > 0, file.path().string(), ": tensor '", name, "' has shape ",
        shape_text(at::IntArrayRef(shape)), ", expected a matrix");
  return shape;
}

TextConfig measure_text(const TensorFile& file, const std::string& prefix, const VitConfig& vision) {
  TextConfig c;
  const auto words = matrix(file, prefix + "token_embedding.weight");
  c.vocabulary = words[0];
  c.width = words[1];
  c.context = matrix(file, prefix + "positional_embedding")[0];
  c.depth = 0;
  while (c.depth < kMaxDepth && file.has(text(prefix, "transformer.resblocks.", c.depth, ".ln_1.weight"))) ++c.depth;
  c.hidden = matrix(file, prefix + "transformer.resblocks.0.mlp.c_fc.weight")[0];
  c.activation = vision.activation;
  c.end_id = c.vocabulary - 1;
  c.pool_at_largest_id = true;  // the end token is the last of the vocabulary
  return c;
}

// Heads of the text tower stand in OpenCLIP's configuration; OpenAI has one for every 64 channels.
void describe_text(const fs::path& folder, TextConfig& c, std::vector<std::string>& notes) {
  const fs::path path = folder / "open_clip_config.json";
  if (!fs::exists(path)) {
    c.heads = assumed_heads(c.width, folder.string(), notes);
    return;
  }
  const Json json = read_json(path, kMaxConfigBytes);
  const JsonReader whole(json, path.string()), model = whole.object("model_cfg"), in = model.object("text_cfg");
  in.confirm("width", c.width);
  in.confirm("layers", c.depth);
  in.confirm("context_length", c.context);
  in.confirm("vocab_size", c.vocabulary);
  c.heads = in.size("heads", 8);
  check(c.width % c.heads == 0, in.where(), ": width ", c.width, " is not divisible into ", c.heads, " heads");
}

}  // namespace

ClipFile find_clip(const fs::path& path) {
  const TensorFile file = open_weights(path);
  const fs::path folder = file.path().has_parent_path() ? file.path().parent_path() : fs::path(".");
  ClipFile out{.config = {}, .names = ClipNames::kTransformers, .weights = path, .notes = {}};
  const NamedVit vision{&openai_clip_family(), ""};
  if (!bears_marks(file, vision)) {
    out.config = read_clip_config(folder);
  } else {
    const bool custom = file.has("text.token_embedding.weight");
    out.names = custom ? ClipNames::kCustomText : ClipNames::kOpenAi;
    const DescribedVit described = describe(file, vision, measure(file, vision));
    out.config.vision = described.measures.vit;
    out.config.embed = described.measures.embed;
    out.config.stats = described.pixels.stats;
    out.config.kernel = described.pixels.kernel;
    out.notes = described.notes;
    out.config.text = measure_text(file, custom ? "text." : "", out.config.vision);
    describe_text(folder, out.config.text, out.notes);
    check(out.config.embed > 0, file.path().string(), ": has no projection into the common space (visual.proj)");
  }
  out.config.logit_bias = file.has("logit_bias");
  check_plausible(file, about_parameters(out.config.vision) + about_parameters(out.config.text),
                  "the sizes of its towers");
  return out;
}

Clip read_clip(const fs::path& path) {
  ClipFile file = find_clip(path);
  Clip clip{.config = file.config,
            .vision = ClipVision(file.config),
            .text = TextTower(file.config.text),
            .text_projection = Linear(file.config.text.width, file.config.embed, /*bias=*/false),
            .logit_scale = at::zeros({}),
            .logit_bias = at::zeros({}),
            .notes = std::move(file.notes)};
  import_weights(open_weights(file.weights), clip_key_map(file.config, file.names), clip.tensors());
  clip.vision->eval();
  clip.text->eval();
  return clip;
}

NamedTensors Clip::tensors() const {
  NamedTensors out = named_tensors(*vision);
  for (const auto& named : named_tensors(*text, "text.")) out.push_back(named);
  out.emplace_back("text_projection.weight", text_projection->weight);
  out.emplace_back("logit_scale", logit_scale);
  if (config.logit_bias) out.emplace_back("logit_bias", logit_bias);
  return out;
}

at::Tensor Clip::logits(const at::Tensor& images, const at::Tensor& ids) {
  const at::Tensor image = unit_length(vision->projection(vision->vit->encode(images).select(1, 0)));
  const at::Tensor words = unit_length(text_projection(text(ids)));
  return logit_scale.exp() * at::matmul(image, words.t()) + logit_bias;
}

}  // namespace lacuna
