#include "nn/weights/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxRefBytes = 256;
constexpr std::size_t kMaxName = 96;  // of an organisation or a model, as the Hub allows

struct HubName {
  std::string organisation, model, revision;

  std::string full() const { return organisation + "/" + model; }
  std::string fetch() const { return "hf download " + full() + (revision == "main" ? "" : " --revision " + revision); }
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  std::string out = value == nullptr ? "" : value;
  const char* home = std::getenv("HOME");
  if (out.starts_with("~/") && home != nullptr) out = home + out.substr(1);
  return out;
}

// Letters, digits and - _ . as the Hub allows, but nothing that leads elsewhere.
bool is_plain(std::string_view word) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !word.empty() && word.size() <= kMaxName && word.front() != '.' && word.find("..") == word.npos &&
         std::all_of(word.begin(), word.end(), good);
}

// Branches and tags may hold slashes.
bool is_revision(std::string_view word) {
  for (std::size_t start = 0; start <= word.size();) {
    const std::size_t end = std::min(word.find('/', start), word.size());
    if (!is_plain(word.substr(start, end - start))) return false;
    start = end + 1;
  }
  return true;
}

std::optional<HubName> parse(std::string name) {
  for (const std::string_view prefix : {"hf-hub:", "hf_hub:"}) {
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  }
  HubName out{.organisation = {}, .model = {}, .revision = "main"};
  if (const std::size_t at = name.find('@'); at != name.npos) {
    out.revision = name.substr(at + 1);
    name.erase(at);
  }
  const std::size_t slash = name.find('/');
  if (slash == name.npos) return std::nullopt;
  out.organisation = name.substr(0, slash);
  out.model = name.substr(slash + 1);
  if (!is_plain(out.organisation) || !is_plain(out.model) || !is_revision(out.revision)) return std::nullopt;
  return out;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// The snapshot that the revision stands for: what its ref says, else the revision itself, a commit.
fs::path snapshot_of(const fs::path& model, const HubName& name) {
  const fs::path ref = model / "refs" / name.revision;
  std::string commit = name.revision;
  if (is_there(ref)) {
    commit = read_file(ref, kMaxRefBytes);
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
    check(is_plain(commit), ref.string(), ": expected the name of a commit, found '", printable(commit), "'");
  }
  return model / "snapshots" / commit;
}

bool is_weights(const fs::path& file) {
  const std::string extension = file.extension().string();
  return extension == ".safetensors" || extension == ".bin" || extension == ".pt" || extension == ".pth" ||
         extension == ".pkl";
}

// A snapshot whose weights are missing, or are links to blobs that are not there.
void check_complete(const fs::path& snapshot, const HubName& name) {
  bool weights = false, whole = true;
  for (const auto& entry : fs::directory_iterator(snapshot)) {
    if (!is_weights(entry.path())) continue;
    weights = true;
    whole = whole && is_there(entry.path());
  }
  check(weights && whole, snapshot.string(), ": this snapshot of ", name.full(), " in the Hugging Face cache ",
        weights ? "is incomplete: files of weights are links to nothing" : "holds no weights",
        "; fetch the rest with: ", name.fetch());
}

}  // namespace

fs::path hub_cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {  // the second is the older name
    if (const std::string folder = variable(name); !folder.empty()) return folder;
  }
  if (const std::string folder = variable("HF_HOME"); !folder.empty()) return fs::path(folder) / "hub";
  if (const std::string folder = variable("XDG_CACHE_HOME"); !folder.empty())
    return fs::path(folder) / "huggingface" / "hub";
  return fs::path(variable("HOME")) / ".cache" / "huggingface" / "hub";
}

fs::path resolve_model(const fs::path& named) {
  const std::string whole = named.string();
  if (is_there(named) || is_there(whole.substr(0, whole.rfind('#')))) return named;
  const std::optional<HubName> name = parse(whole);
  if (!name) return named;
  const fs::path cache = hub_cache_folder(), model = cache / ("models--" + name->organisation + "--" + name->model);
  check(is_there(model), "'", whole,
        "' is no file or folder here, and no model of this name is in the Hugging Face cache ", cache.string(),
        "; if it is one, fetch it with: ", name->fetch(), " (nothing is downloaded by this program)");
  const fs::path snapshot = snapshot_of(model, *name);
  check(is_there(snapshot), model.string(), ": the Hugging Face cache holds ", name->full(), ", but not its revision '",
        name->revision, "'; fetch it with: ", name->fetch());
  check_complete(snapshot, *name);
  return snapshot;
}

}  // namespace lacuna
