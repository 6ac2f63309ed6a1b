#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "io/files.h"
#include "io/tensor_file.h"
#include "nn/backbone.h"
#include "nn/shapes.h"
#include "train/checkpoint.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

int64_t elements(const TensorInfo& tensor) {
  return static_cast<int64_t>(tensor.data.size() / dtype_size(tensor.dtype));
}

void print_tensors(const fs::path& path) {
  const TensorFile file(path);
  int64_t total = 0;
  uint64_t bytes = 0;
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    std::printf("  %-64s %-5s %s\n", printable(name).c_str(), std::string(dtype_name(tensor.dtype)).c_str(),
                shape_text(tensor.shape).c_str());
    total += elements(tensor);
    bytes += tensor.data.size();
  }
  std::cout << file.names().size() << " tensors, " << human_count(static_cast<double>(total)) << " elements, "
            << human_bytes(bytes) << ", hash " << hash_file(path) << "\n";
  for (const auto& [key, value] : file.metadata())
    std::cout << "metadata " << printable(key) << ": " << printable(value) << "\n";
}

void print_backbone(const Backbone& backbone) {
  const VitConfig& v = backbone.config.vit;
  std::cout << "ViT of width " << v.width << ", " << v.depth << " blocks, " << v.heads << " heads; "
            << human_count(static_cast<double>(parameter_count(*backbone.vit))) << " parameters; input " << v.image_side
            << " px, patches of " << v.patch_side << " px (grid " << v.grid() << " x " << v.grid() << ")\nloaded from "
            << backbone.origin << "; every tensor is accounted for\n\n"
            << to_toml(backbone.config);
}

void print_run(const fs::path& path) {
  std::cout << "run " << path.string() << "\n";
  std::vector<std::string> notes;
  const auto newest = Checkpoints(path / "checkpoints", {}).newest(&notes);
  for (const std::string& note : notes) std::cout << note << "\n";
  if (!newest) return;
  const nlohmann::json& state = newest->state();
  std::cout << "newest checkpoint: step " << newest->step() << " of " << state.value("total_steps", int64_t{0})
            << ", weights " << state.at("tensors").at("hash").get<std::string>() << "\n";
}

}  // namespace

int inspect_command(Arguments arguments) {
  check(arguments.size() == 1, "inspect: name one file or folder");
  const fs::path path = arguments[0];
  check(fs::exists(path), "inspect: ", path.string(), " does not exist");
  if (!fs::is_directory(path)) {
    print_tensors(path);
    return 0;
  }
  if (fs::exists(path / "config.toml")) print_run(path);
  print_backbone(open_backbone(path));
  for (const char* weights : {"model.safetensors", "state.safetensors"}) {
    if (fs::exists(path / weights)) print_tensors(path / weights);
  }
  return 0;
}

}  // namespace lacuna
