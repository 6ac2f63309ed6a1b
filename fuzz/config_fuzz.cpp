// fuzz: nn
// What stands beside weights: the configurations of timm, transformers and OpenCLIP, for micro networks of zeros. The
// first byte of the input says which file the rest is.

#include <fstream>

#include "io/tensor/safetensors.h"
#include "nn/clip.h"
#include "nn/weights/foreign_vit.h"
#include "support/temporary_folder.h"
#include "target.h"

namespace {

using namespace lacuna;
namespace fs = std::filesystem;

struct Shape {
  const char* name;
  std::vector<std::int64_t> shape;
};

// Width 8, one block, patches of 8 on a grid of 2 x 2.
const std::vector<Shape> kTimm = {{"cls_token", {1, 1, 8}},
                                  {"pos_embed", {1, 5, 8}},
                                  {"patch_embed.proj.weight", {8, 3, 8, 8}},
                                  {"patch_embed.proj.bias", {8}},
                                  {"blocks.0.norm1.weight", {8}},
                                  {"blocks.0.norm1.bias", {8}},
                                  {"blocks.0.attn.qkv.weight", {24, 8}},
                                  {"blocks.0.attn.qkv.bias", {24}},
                                  {"blocks.0.attn.proj.weight", {8, 8}},
                                  {"blocks.0.attn.proj.bias", {8}},
                                  {"blocks.0.norm2.weight", {8}},
                                  {"blocks.0.norm2.bias", {8}},
                                  {"blocks.0.mlp.fc1.weight", {16, 8}},
                                  {"blocks.0.mlp.fc1.bias", {16}},
                                  {"blocks.0.mlp.fc2.weight", {8, 16}},
                                  {"blocks.0.mlp.fc2.bias", {8}},
                                  {"norm.weight", {8}},
                                  {"norm.bias", {8}}};
const std::vector<Shape> kTransformers = {{"embeddings.cls_token", {1, 1, 8}},
                                          {"embeddings.position_embeddings", {1, 5, 8}},
                                          {"embeddings.patch_embeddings.projection.weight", {8, 3, 8, 8}},
                                          {"embeddings.patch_embeddings.projection.bias", {8}},
                                          {"encoder.layer.0.attention.attention.query.weight", {8, 8}},
                                          {"encoder.layer.0.attention.attention.query.bias", {8}},
                                          {"encoder.layer.0.attention.attention.key.weight", {8, 8}},
                                          {"encoder.layer.0.attention.attention.key.bias", {8}},
                                          {"encoder.layer.0.attention.attention.value.weight", {8, 8}},
                                          {"encoder.layer.0.attention.attention.value.bias", {8}},
                                          {"encoder.layer.0.attention.output.dense.weight", {8, 8}},
                                          {"encoder.layer.0.attention.output.dense.bias", {8}},
                                          {"encoder.layer.0.intermediate.dense.weight", {16, 8}},
                                          {"encoder.layer.0.intermediate.dense.bias", {16}},
                                          {"encoder.layer.0.output.dense.weight", {8, 16}},
                                          {"encoder.layer.0.output.dense.bias", {8}},
                                          {"encoder.layer.0.layernorm_before.weight", {8}},
                                          {"encoder.layer.0.layernorm_before.bias", {8}},
                                          {"encoder.layer.0.layernorm_after.weight", {8}},
                                          {"encoder.layer.0.layernorm_after.bias", {8}},
                                          {"layernorm.weight", {8}},
                                          {"layernorm.bias", {8}}};
const std::vector<Shape> kOpenClip = {{"visual.class_embedding", {8}},
                                      {"visual.positional_embedding", {5, 8}},
                                      {"visual.proj", {8, 4}},
                                      {"visual.conv1.weight", {8, 3, 8, 8}},
                                      {"visual.ln_pre.weight", {8}},
                                      {"visual.ln_pre.bias", {8}},
                                      {"visual.transformer.resblocks.0.attn.in_proj_weight", {24, 8}},
                                      {"visual.transformer.resblocks.0.attn.in_proj_bias", {24}},
                                      {"visual.transformer.resblocks.0.attn.out_proj.weight", {8, 8}},
                                      {"visual.transformer.resblocks.0.attn.out_proj.bias", {8}},
                                      {"visual.transformer.resblocks.0.ln_1.weight", {8}},
                                      {"visual.transformer.resblocks.0.ln_1.bias", {8}},
                                      {"visual.transformer.resblocks.0.mlp.c_fc.weight", {16, 8}},
                                      {"visual.transformer.resblocks.0.mlp.c_fc.bias", {16}},
                                      {"visual.transformer.resblocks.0.mlp.c_proj.weight", {8, 16}},
                                      {"visual.transformer.resblocks.0.mlp.c_proj.bias", {8}},
                                      {"visual.transformer.resblocks.0.ln_2.weight", {8}},
                                      {"visual.transformer.resblocks.0.ln_2.bias", {8}},
                                      {"visual.ln_post.weight", {8}},
                                      {"visual.ln_post.bias", {8}}};

struct Place {
  const char* folder;
  const char* file;
};
constexpr Place kPlaces[] = {{"timm", "config.json"},
                             {"transformers", "config.json"},
                             {"transformers", "preprocessor_config.json"},
                             {"openclip", "open_clip_config.json"},
                             {"clip", "config.json"},
                             {"clip", "preprocessor_config.json"}};

struct Folders : testing::TemporaryFolder {
  Folders() {
    fs::create_directories(path() / "clip");
    write("timm", kTimm);
    write("transformers", kTransformers);
    write("openclip", kOpenClip);
  }
  void write(const char* folder, const std::vector<Shape>& shapes) const {
    static const std::vector<float> kZeros(8 * 3 * 8 * 8);
    std::vector<TensorView> views;
    for (const Shape& each : shapes) views.push_back({each.name, DType::kF32, each.shape, kZeros.data()});
    fs::create_directories(path() / folder);
    write_safetensors(path() / folder / "model.safetensors", views);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folders kFolders;
  if (size == 0) return 0;
  const Place& place = kPlaces[static_cast<std::size_t>(data[0]) % std::size(kPlaces)];
  const fs::path folder = kFolders / place.folder;
  for (const Place& each : kPlaces) fs::remove(kFolders / each.folder / each.file);
  return fuzz::one_input(data + 1, size - 1, [&](std::span<const std::byte> bytes) {
    std::ofstream(folder / place.file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    if (fs::exists(folder / "model.safetensors")) {
      understand(folder);
    } else {
      read_clip_config(folder);
    }
  });
}
