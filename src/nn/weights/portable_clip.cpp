#include "nn/weights/portable_clip.h"

#include "base/error.h"
#include "nn/clip_towers.h"
#include "nn/weights/export_folder.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizerFiles[] = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
                                           "special_tokens_map.json"};

bool replace_start(std::string& name, const std::string& from, const std::string& to) {
  if (!name.starts_with(from)) return false;
  name = to + name.substr(from.size());
  return true;
}

fs::path folder_of(const fs::path& path) {
  return fs::is_directory(path) ? path : path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

bool holds_clip(const fs::path& path) {
  if (is_our_own(path)) return false;
  const TensorFile file = open_weights(path);
  const bool openai = file.has("visual.conv1.weight") &&
                      (file.has("token_embedding.weight") || file.has("text.token_embedding.weight"));
  return openai || (file.has("vision_model.embeddings.class_embedding") &&
                    file.has("text_model.embeddings.token_embedding.weight"));
}

PortableClip open_portable_clip(const fs::path& path) {
  const Clip clip = read_clip(path);
  PortableClip out{.config = clip.config, .tensors = clip.tensors(), .tokenizer = {}, .notes = clip.notes};
  for (auto& [name, tensor] : out.tensors) tensor = tensor.detach();
  out.tokenizer = folder_of(path);
  return out;
}

PortableVit vision_of(const PortableClip& clip) {
  PortableVit out{.vit = clip.config.vision,
                  .head = {},
                  .embed = clip.config.embed,
                  .stats = clip.config.stats,
                  .kernel = clip.config.kernel,
                  .tensors = {},
                  .own = {},
                  .labels = {},
                  .notes = clip.notes};
  for (auto [name, tensor] : clip.tensors) {
    if (replace_start(name, "vision.", "vit.") || replace_start(name, "vision_projection.", "projection."))
      out.tensors.emplace_back(name, tensor);
  }
  return out;
}

void set_vision(PortableClip& clip, const PortableVit& vision) {
  std::erase_if(clip.tensors, [](const auto& t) { return t.first.starts_with("vision"); });
  for (auto [name, tensor] : vision.tensors) {
    if (!replace_start(name, "vit.", "vision.")) replace_start(name, "projection.", "vision_projection.");
    clip.tensors.emplace_back(name, tensor);
  }
  clip.config.vision = vision.vit;
}

bool copy_tokenizer(const fs::path& from, const fs::path& to) {
  if (from.empty() || !fs::is_directory(from)) return false;
  bool copied = false;
  for (const char* name : kTokenizerFiles) {
    if (!fs::is_regular_file(from / name)) continue;
    fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing);
    copied = true;
  }
  return copied;
}

std::string why_not_transformers(const PortableClip& clip) {
  if (clip.config.logit_bias) return "transformers' CLIP adds no bias to its logits; use --to openclip";
  const std::string vision = why_not_transformers(vision_of(clip));
  return vision.empty() ? why_not_clip(clip.config.text) : vision;
}

void write_transformers_folder(const fs::path& folder, PortableClip clip, at::ScalarType dtype) {
  const std::string reason = why_not_transformers(clip);
  check(reason.empty(), "export: ", reason);
  PortableVit vision = vision_of(clip);
  learn_positions(vision);
  fill_attention_bias(vision);
  set_vision(clip, vision);
  write_clip_folder(folder, clip.config, clip.tensors, dtype);
  copy_tokenizer(clip.tokenizer, folder);
}

}  // namespace lacuna
