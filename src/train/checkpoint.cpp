#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "step-";
constexpr const char* kTemporary = ".writing-";

std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* begin = name.data() + std::string_view(kPrefix).size();
  const char* end = name.data() + name.size();
  int64_t step = 0;
  const auto [rest, fault] = std::from_chars(begin, end, step);
  if (fault != std::errc() || rest != end) return std::nullopt;
  return step;
}

fs::path folder_of(const fs::path& root, int64_t step) { return root / (kPrefix + std::to_string(step)); }

}  // namespace

Snapshot::Snapshot(fs::path folder, nlohmann::json state, TensorFile file)
    : folder_(std::move(folder)), state_(std::make_unique<nlohmann::json>(std::move(state))), file_(std::move(file)) {}
Snapshot::~Snapshot() = default;
Snapshot::Snapshot(Snapshot&&) noexcept = default;

int64_t Snapshot::step() const { return state_->at("step").get<int64_t>(); }

NamedTensors Snapshot::tensors(const std::string& prefix) const {
  NamedTensors out;
  for (const std::string& name : file_.names()) {
    if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), to_tensor(file_, name));
  }
  return out;
}

Checkpoints::Checkpoints(fs::path folder, KeepPolicy keep) : folder_(std::move(folder)), keep_(keep) {}

std::string Checkpoints::save(int64_t step, const NamedTensors& tensors, nlohmann::json state) const {
  fs::create_directories(folder_);
  const fs::path temporary = folder_ / (kTemporary + std::to_string(step)), target = folder_of(folder_, step);
  remove_unfinished();
  fs::create_directory(temporary);
  std::vector<at::Tensor> keep;
  const std::string hash = write_safetensors(temporary / "state.safetensors", to_views(tensors, keep), {});
  state["step"] = step;
  state["tensors"] = {{"hash", hash}, {"count", tensors.size()}};
  write_json_atomic(temporary / "state.json", state);
  sync_directory(temporary);
  remove_tree(target);  // left by a run that was resumed from before it; its bytes would be the same
  fs::rename(temporary, target);
  sync_directory(folder_);
  write_file_atomic(folder_ / "last", target.filename().string());
  prune(step);
  return hash;
}

std::vector<int64_t> Checkpoints::steps() const {
  std::vector<int64_t> out;
  if (!fs::is_directory(folder_)) return out;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (const auto step = step_of(entry.path())) out.push_back(*step);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Snapshot Checkpoints::open(int64_t step) const {
  const fs::path folder = folder_of(folder_, step);
  nlohmann::json state = read_json(folder / "state.json");
  if (state.at("step") != step)
    fail_data((folder / "state.json").string(), ": expected step ", step, ", found ", state.at("step").dump());
  const std::string expected = state.at("tensors").at("hash").get<std::string>();
  const std::string found = hash_file(folder / "state.safetensors");
  if (found != expected)
    fail_data((folder / "state.safetensors").string(), ": its hash is ", found, ", but ", expected, " was written");
  TensorFile file(folder / "state.safetensors");
  return Snapshot(folder, std::move(state), std::move(file));
}

std::optional<Snapshot> Checkpoints::newest(std::vector<std::string>* notes) const {
  std::vector<int64_t> found = steps();
  std::string damage;
  for (auto step = found.rbegin(); step != found.rend(); ++step) {
    try {
      return open(*step);
    } catch (const Error& error) {
      damage = error.what();
    } catch (const nlohmann::json::exception& error) {
      damage = text(folder_of(folder_, *step).string(), "/state.json: ", error.what());
    }
    if (notes) notes->push_back(text("checkpoint step-", *step, " is damaged and passed over: ", damage));
  }
  if (!found.empty())
    fail_data(folder_.string(), ": all ", found.size(), " checkpoints are damaged; the last fault was: ", damage);
  return std::nullopt;
}

// What processes that were killed while saving have left, of whatever step.
void Checkpoints::remove_unfinished() const {
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with(kTemporary)) left.push_back(entry.path());
  }
  for (const fs::path& folder : left) remove_tree(folder);
}

void Checkpoints::prune(int64_t newest_step) const {
  std::vector<int64_t> found = steps();
  std::erase_if(found, [&](int64_t step) { return step > newest_step; });
  const int64_t surplus = static_cast<int64_t>(found.size()) - std::max<int64_t>(1, keep_.last);
  for (int64_t i = 0; i < surplus; ++i) {
    const int64_t step = found[static_cast<size_t>(i)];
    if (keep_.every == 0 || step % keep_.every != 0) remove_tree(folder_of(folder_, step));
  }
}

}  // namespace lacuna
