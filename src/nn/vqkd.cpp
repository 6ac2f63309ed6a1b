#include "nn/vqkd.h"

#include "base/error.h"
#include "io/files.h"
#include "nn/shapes.h"
#include "nn/weights/json_reader.h"
#include "nn/weights/vit_config_files.h"
#include "nn/weights/weight_file.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

void read_config(const fs::path& folder, VitConfig& c, std::vector<std::string>& notes) {
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) {
    c.heads = assumed_heads(c.width, folder.string(), notes);
    return;
  }
  const nlohmann::json json = read_json(path, kMaxConfigBytes);
  const JsonReader whole(json, path.string()), in = whole.object("encoder");
  in.confirm("img_size", c.image_side);
  in.confirm("patch_size", c.patch_side);
  in.confirm("embed_dim", c.width);
  in.confirm("depth", c.depth);
  c.heads = in.size("num_heads", 12);
  c.norm_eps = whole.number("layer_norm_eps", c.norm_eps);
  check(c.norm_eps > 0 && c.norm_eps < 1, path.string(), ": key 'layer_norm_eps' must be between 0 and 1, found ",
        c.norm_eps);
  check(c.width % c.heads == 0, path.string(), ": width ", c.width, " is not divisible into ", c.heads, " heads");
}

std::vector<int64_t> matrix(const TensorFile& file, const std::string& name) {
  check(file.has(name), file.path().string(), ": not a tokenizer of BEiT v2: tensor '", name, "' is missing");
  const std::vector<int64_t>& shape = file.at(name).shape;
  check(shape.size() == 2 && shape[0] > 0 && shape[1] > 0, file.path().string(), ": tensor '", name, "' has shape ",
        shape_text(at::IntArrayRef(shape)), ", expected a matrix");
  return shape;
}

KeyMap vqkd_key_map(const NamedVit& named, const VitConfig& c, const NamedTensors& destination,
                    const std::string& codebook) {
  KeyMap map = key_map(named, c, destination);
  map.add("fc1", "encode_task_layer.0");
  map.add("fc2", "encode_task_layer.2");
  map.rules.push_back({{"codebook"}, {codebook}});
  return map;
}

}  // namespace

VqkdImpl::VqkdImpl(const VitConfig& config, int64_t codes, int64_t code_width)
    : encoder(register_module("vit", Vit(config))),
      fc1(register_module("fc1", Linear(config.width, config.width))),
      fc2(register_module("fc2", Linear(config.width, code_width))) {
  codebook = register_parameter("codebook", torch::empty({codes, code_width}));
}

at::Tensor VqkdImpl::features(const at::Tensor& images) {
  return fc2(at::tanh(fc1(encoder->encode(images).slice(1, encoder->config().class_tokens()))));
}

at::Tensor VqkdImpl::cosines(const at::Tensor& images) {
  const at::Tensor x = features(images);
  return at::linear(x / at::linalg_vector_norm(x, 2, -1, true).clamp_min(1e-12), codebook);
}

at::Tensor VqkdImpl::ids(const at::Tensor& images) { return cosines(images).argmax(-1); }

OpenedVqkd open_vqkd(const fs::path& path) {
  const TensorFile file = open_weights(path);
  check(file.has("encode_task_layer.0.weight") && file.has("encoder.patch_embed.proj.weight"), file.path().string(),
        ": not a tokenizer of BEiT v2: it has no encode_task_layer or no encoder");
  const NamedVit named{&vqkd_family(), "encoder."};
  VitConfig config = measure(file, named).vit;
  OpenedVqkd out;
  read_config(file.path().has_parent_path() ? file.path().parent_path() : fs::path("."), config, out.notes);
  check(config.class_token && config.image_side > 0, file.path().string(),
        ": the encoder has no class token or no table that tells its grid");

  const std::string name = file.has("quantize.codebook") ? "quantize.codebook" : "quantize.embedding.weight";
  const std::vector<int64_t> book = matrix(file, name), last = matrix(file, "encode_task_layer.2.weight");
  check(book[1] == last[0], file.path().string(), ": codes are of width ", book[1], ", features of width ", last[0]);
  out.model = Vqkd(config, book[0], book[1]);
  const NamedTensors tensors = named_tensors(*out.model);
  import_weights(file, vqkd_key_map(named, config, tensors, name), tensors);
  const at::NoGradGuard no_grad;
  const double off = (at::linalg_vector_norm(out.model->codebook, 2, -1) - 1).abs().max().item<double>();
  check(off < 1e-3, file.path().string(), ": rows of the codebook '", name, "' should have length one, but are off by ",
        off);
  out.model->eval();
  return out;
}

}  // namespace lacuna
