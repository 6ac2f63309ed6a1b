#include "nn/weight_file.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// In the order in which clients prefer them.
constexpr const char* kFileNames[] = {"model.safetensors", "open_clip_model.safetensors",
                                      "open_clip_pytorch_model.safetensors", "encoder.safetensors"};

constexpr const char* kHowToConvert =
    "python -c \"import sys, torch; from safetensors.torch import save_file; d = torch.load(sys.argv[1], "
    "map_location='cpu'); d = d.state_dict() if hasattr(d, 'state_dict') else d.get('model', d.get('state_dict', d)); "
    "save_file({k: v.clone().contiguous() for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])\" ";

bool is_pickle(const fs::path& file) {
  const std::string extension = file.extension().string();
  return extension == ".pt" || extension == ".pth" || extension == ".bin" || extension == ".pkl" ||
         extension == ".ckpt";
}

[[noreturn]] void refuse_pickle(const fs::path& file) {
  fs::path target = file;
  target.replace_extension(".safetensors");
  fail(file.string(),
       ": files that contain Python pickles are not read yet. Convert it once, trusting its source: ", kHowToConvert,
       file.string(), " ", target.string());
}

fs::path find_in_folder(const fs::path& folder) {
  for (const char* name : kFileNames) {
    if (fs::is_regular_file(folder / name)) return folder / name;
  }
  std::vector<fs::path> found, pickles;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
    if (is_pickle(entry.path())) pickles.push_back(entry.path());
  }
  check(!fs::exists(folder / "model.safetensors.index.json"), folder.string(),
        ": the weights are split into shards, which are not read; save them as one model.safetensors");
  std::sort(found.begin(), found.end());
  check(found.size() < 2, folder.string(), ": holds ", found.size(), " safetensors files and no model.safetensors; ",
        "name the file itself, for example ", found.empty() ? "" : found[0].string());
  if (found.empty() && !pickles.empty()) refuse_pickle(*std::min_element(pickles.begin(), pickles.end()));
  check(!found.empty(), folder.string(), ": holds no weights; expected model.safetensors or another .safetensors file");
  return found[0];
}

}  // namespace

fs::path find_weights(const fs::path& path) {
  check(fs::exists(path), path.string(), ": does not exist; expected a folder or a .safetensors file");
  if (fs::is_directory(path)) return find_in_folder(path);
  if (is_pickle(path)) refuse_pickle(path);
  check(path.extension() == ".safetensors", path.string(), ": expected a folder or a .safetensors file, found '",
        path.extension().string(), "'");
  return path;
}

void check_plausible(const TensorFile& file, double parameters, const char* what) {
  double stored = 0;
  for (const std::string& name : file.names()) {
    const TensorInfo& tensor = file.at(name);
    stored += static_cast<double>(tensor.data.size() / dtype_size(tensor.dtype));
  }
  // A mistake in one size shows best as a tensor of another shape, so only impossible totals are refused here.
  check(parameters <= 8 * stored + 1e6, file.path().string(), ": ", what, " describe a network of ", parameters,
        " numbers, but the file holds only ", stored);
}

}  // namespace lacuna
