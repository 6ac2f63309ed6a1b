#include "nn/weights/weight_file.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/files.h"
#include "nn/weights/hub_cache.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

// In the order in which clients prefer them.
constexpr const char* kFileNames[] = {
    "model.safetensors",           "open_clip_model.safetensors",  "open_clip_pytorch_model.safetensors",
    "encoder.safetensors",         "model.safetensors.index.json", "pytorch_model.bin",
    "open_clip_pytorch_model.bin", "pytorch_model.bin.index.json"};
constexpr const char* kPickles[] = {".pt", ".pth", ".bin", ".ckpt", ".pkl"};

// Under what programs put the state dictionary, the likelier first. A plain model comes before its running mean.
constexpr const char* kWrappers[] = {"model", "state_dict", "model_state_dict", "model_state", "module",
                                     "net",   "network",    "weights",          "params",      "model_ema",
                                     "ema",   "ema_state",  "teacher",          "student"};
constexpr const char* kPrefixes[] = {"module", "_orig_mod"};  // of parallel and of compiled modules
constexpr int kMaxWrappings = 4;
constexpr std::size_t kMaxListed = 8;

bool is_pickle(const fs::path& file) {
  return std::find(std::begin(kPickles), std::end(kPickles), file.extension()) != std::end(kPickles);
}

// The only one of several candidates; an empty path if there is none.
fs::path only_one(std::vector<fs::path> found, const fs::path& folder, const char* what, const char* preferred) {
  std::sort(found.begin(), found.end());
  check(found.size() < 2, folder.string(), ": holds ", found.size(), " ", what, " files and no ", preferred,
        "; name the file itself, for example ", found.empty() ? "" : found[0].string());
  return found.empty() ? fs::path() : found[0];
}

fs::path find_in_folder(const fs::path& folder) {
  for (const char* name : kFileNames) {
    if (fs::is_regular_file(folder / name)) return folder / name;
  }
  std::vector<fs::path> tensors, indices, pickles;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& file = entry.path();
    if (file.extension() == ".safetensors") tensors.push_back(file);
    if (file.string().ends_with(".index.json")) indices.push_back(file);
    if (is_pickle(file)) pickles.push_back(file);
  }
  fs::path found = only_one(std::move(indices), folder, "index", "model.safetensors.index.json");
  if (found.empty()) found = only_one(std::move(tensors), folder, "safetensors", "model.safetensors");
  if (found.empty()) found = only_one(std::move(pickles), folder, "torch", "pytorch_model.bin");
  check(!found.empty(), folder.string(),
        ": holds no weights; expected model.safetensors, pytorch_model.bin or another file of tensors");
  return found;
}

bool holds(const TensorFile& file, const std::string& key) {
  const std::string start = key + ".";
  return std::any_of(file.names().begin(), file.names().end(),
                     [&](const std::string& name) { return name.starts_with(start); });
}

// Dictionaries with tensors that stand directly in the outermost one, but for `except`.
std::vector<std::string> outer_keys(const TensorFile& file, const std::string& except) {
  std::vector<std::string> out;
  for (const std::string& name : file.dictionaries()) {
    if (!name.empty() && name != except && name.find('.') == std::string::npos && holds(file, name))
      out.push_back(name);
  }
  return out;
}

std::string listed(const std::vector<std::string>& keys) {
  std::string out;
  for (std::size_t i = 0; i < std::min(keys.size(), kMaxListed); ++i) out += (i == 0 ? "" : ", ") + printable(keys[i]);
  return keys.size() > kMaxListed ? out + ", …" : out;
}

TensorFile without_prefixes(TensorFile file) {
  for (int i = 0; i < kMaxWrappings; ++i) {
    for (const std::string prefix : kPrefixes) {
      const bool all =
          !file.names().empty() && std::all_of(file.names().begin(), file.names().end(),
                                               [&](const std::string& name) { return name.starts_with(prefix + "."); });
      if (all) file = file.within(prefix);
    }
  }
  return file;
}

TensorFile without_wrappers(TensorFile file) {
  for (int i = 0; i < kMaxWrappings; ++i) {
    const auto& known = file.dictionaries();
    const auto wrapper = std::find_if(std::begin(kWrappers), std::end(kWrappers), [&](const std::string& key) {
      return std::find(known.begin(), known.end(), key) != known.end() && holds(file, key);
    });
    if (wrapper == std::end(kWrappers)) break;
    const std::vector<std::string> others = outer_keys(file, *wrapper);
    file = file.within(*wrapper);
    if (!others.empty()) {
      file.note(text("the tensors under '", *wrapper, "' were taken; also there: ", listed(others), " (name it with ",
                     file.path().filename().string(), "#", printable(others[0]), ")"));
    }
  }
  return without_prefixes(std::move(file));
}

TensorFile under_key(const TensorFile& file, const std::string& key) {
  check(holds(file, key), file.path().string(), ": holds no tensors under '", printable(key), "'; there are ",
        outer_keys(file, "").empty() ? "no dictionaries to choose from" : listed(outer_keys(file, "")));
  return without_prefixes(file.within(key));
}

}  // namespace

TensorFile open_weights(const fs::path& asked) {
  const fs::path path = resolve_model(asked);
  fs::path named = path;
  std::string key;
  const std::string whole = path.string();
  const std::size_t hash = whole.rfind('#');
  if (!fs::exists(path) && hash != std::string::npos) {
    named = whole.substr(0, hash);
    key = whole.substr(hash + 1);
  }
  check(fs::exists(named), named.string(), ": does not exist; expected a file of weights or a folder with one");
  const TensorFile file(fs::is_directory(named) ? find_in_folder(named) : named);
  TensorFile out = hash != std::string::npos && named != path ? under_key(file, key) : without_wrappers(file);
  check(!out.names().empty(), file.path().string(), ": holds no tensors that can be read",
        out.left_out().empty() ? "" : "; '" + printable(out.left_out()[0].name) + "' is " + out.left_out()[0].reason);
  return out;
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
