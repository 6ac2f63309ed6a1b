#include "io/tensor/torch_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

#include "base/error.h"
#include "io/files.h"
#include "io/tensor/pickle.h"
#include "io/tensor/torch_tensors.h"
#include "io/tensor/torch_tree.h"
#include "io/tensor/zip.h"

namespace lacuna {
namespace {

constexpr std::string_view kPickle = "/data.pkl", kConstants = "/constants.pkl", kCode = "/code/";
constexpr std::uint64_t kCopiesBeside = 64u << 20;
constexpr std::uint64_t kMaxCode = 64u << 20;
constexpr double kQuickGelu = 1.702;

std::string_view words(const ZipEntry& entry) {
  return {reinterpret_cast<const char*>(entry.data.data()), entry.data.size()};
}

// The one folder of the archive, named by its data.pkl.
std::string folder_of(const ZipArchive& archive, const std::string& file) {
  std::optional<std::string> folder;
  for (const ZipEntry& entry : archive.entries()) {
    const std::size_t slash = entry.name.find('/');
    if (slash == std::string_view::npos || entry.name.substr(slash) != kPickle) continue;
    if (folder)
      fail_data(file, ": expected one data.pkl, found those of '", printable(*folder), "' and of '",
                printable(entry.name.substr(0, slash)), "'");
    folder = std::string(entry.name.substr(0, slash));
  }
  if (folder) return *folder;
  for (const ZipEntry& entry : archive.entries()) {
    if (entry.name.ends_with(".npy")) fail_data(file, ": an archive of numpy arrays (.npz), not one of torch");
  }
  fail_data(file, ": a ZIP archive without FOLDER/data.pkl, so neither a torch checkpoint nor TorchScript");
}

void check_byte_order(const ZipArchive& archive, const std::string& folder, const std::string& file) {
  const ZipEntry* entry = archive.find_stored(folder + "/byteorder");
  if (entry == nullptr || words(*entry) == "little") return;
  fail_data(file, ": expected numbers in little-endian order, found '", printable(words(*entry), 20), "'");
}

// A constant of the traced code: torch.jit.trace moves the number of `1.702 * x` there.
bool is_quick_gelu(const TensorInfo& tensor) {
  double value = 0;
  if (tensor.dtype == DType::kF64 && tensor.data.size() == sizeof(double)) {
    std::memcpy(&value, tensor.data.data(), sizeof(double));
  } else if (tensor.dtype == DType::kF32 && tensor.data.size() == sizeof(float)) {
    float narrow;
    std::memcpy(&narrow, tensor.data.data(), sizeof(float));
    value = narrow;
  }
  return std::abs(value - kQuickGelu) < 1e-6;
}

// `archive` has constants.pkl. Code that is larger than any network's is passed over.
bool has_quick_gelu(const ZipArchive& archive, const std::string& folder, const std::string& file) {
  std::uint64_t room = kMaxCode;
  for (const ZipEntry& entry : archive.entries()) {
    if (!entry.name.starts_with(folder + std::string(kCode)) || !entry.name.ends_with(".py")) continue;
    const std::optional<std::string> code = archive.content(entry, room);
    if (!code) continue;
    if (code->find("1.702") != std::string::npos) return true;
    room -= code->size();
  }
  const ZipEntry& entry = *archive.find_stored(folder + std::string(kConstants));
  archive.verify(entry);
  const Pickle pickle(entry.data, file + ": constants.pkl");
  TorchTensors tensors(archive, folder + "/constants/", file, kCopiesBeside);
  TensorTable constants;
  add_torch_values(constants, pickle.root(), tensors, file);
  return std::any_of(constants.tensors.begin(), constants.tensors.end(),
                     [](const auto& named) { return is_quick_gelu(named.second); });
}

}  // namespace

TensorTable read_torch_file(std::span<const std::byte> bytes, const std::string& file) {
  const ZipArchive archive(bytes, file);
  const std::string folder = folder_of(archive, file);
  check_byte_order(archive, folder, file);
  const ZipEntry& entry = *archive.find_stored(folder + std::string(kPickle));
  archive.verify(entry);
  const Pickle pickle(entry.data, file + ": data.pkl");
  TorchTensors tensors(archive, folder + "/data/", file, 2 * bytes.size() + kCopiesBeside);
  TensorTable table;
  add_torch_values(table, pickle.root(), tensors, file);
  table.copies = std::move(tensors.copies());
  const bool script = archive.find(folder + std::string(kConstants)) != nullptr;
  table.format = script ? "TorchScript" : "torch zip";
  if (script) table.metadata["torchscript.quick_gelu"] = has_quick_gelu(archive, folder, file) ? "true" : "false";
  return table;
}

}  // namespace lacuna
