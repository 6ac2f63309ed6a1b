#include "io/tensor/shards.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kMaxIndexBytes = 64u << 20;
constexpr std::size_t kMaxShards = 4096;

std::string quote(const std::string& name) { return "'" + printable(name) + "'"; }

// Names of tensors by the shard that should hold them.
std::map<std::string, std::vector<std::string>> shards_of(const Json& json, const fs::path& index) {
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object() || map->empty()) {
    fail_data(index.string(), ": expected an index of shards with a weight_map of tensors and files, found none");
  }
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& [tensor, value] : map->items()) {
    if (!value.is_string()) {
      fail_data(index.string(), ": ", quote(tensor), ": expected the name of a file, found ", printable(value.dump()));
    }
    const auto name = value.get<std::string>();
    const bool plain = !name.empty() && name.front() != '.' && name.find_first_of("/\\:") == std::string::npos &&
                       name.find('\0') == std::string::npos && name.size() <= 255;
    if (!plain || name == index.filename()) {
      fail_data(index.string(), ": ", quote(tensor), ": expected the name of a file beside the index, found ",
                quote(name));
    }
    out[name].push_back(tensor);
    if (out.size() > kMaxShards) fail_data(index.string(), ": expected at most ", kMaxShards, " shards, found more");
  }
  return out;
}

void take(TensorTable& whole, TensorTable shard, const std::vector<std::string>& expected, const std::string& index,
          const std::string& name) {
  for (const std::string& tensor : expected) {
    if (!shard.tensors.contains(tensor)) {
      fail_data(index, ": expected the tensor ", quote(tensor), " in ", quote(name), ", found none there");
    }
  }
  if (shard.names.size() != expected.size()) {
    for (const std::string& tensor : shard.names) {
      if (std::find(expected.begin(), expected.end(), tensor) == expected.end())
        fail_data(index, ": ", quote(name), " holds ", quote(tensor), ", which the index does not place there");
    }
  }
  for (std::string& tensor : shard.names) {
    TensorInfo& info = shard.tensors.at(tensor);
    whole.add(std::move(tensor), std::move(info));
  }
  whole.metadata.merge(shard.metadata);
  const auto append = [](auto& to, auto& from) { std::move(from.begin(), from.end(), std::back_inserter(to)); };
  append(whole.left_out, shard.left_out);
  append(whole.notes, shard.notes);
  append(whole.files, shard.files);
  append(whole.copies, shard.copies);
  whole.format = shard.format + " in shards";
}

void check_total(TensorTable& whole, const Json& json) {
  const auto metadata = json.find("metadata");
  if (metadata == json.end() || !metadata->is_object() || !metadata->contains("total_size")) return;
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : whole.tensors) bytes += tensor.data.size();
  const Json& stated = metadata->at("total_size");
  if (stated.is_number() && stated.get<double>() == static_cast<double>(bytes)) return;
  whole.notes.push_back(text("the index states a total_size of ", printable(stated.dump(), 40),
                             ", but the tensors have ", bytes, " bytes"));
}

}  // namespace

TensorTable read_shards(const fs::path& index) {
  const Json json = read_json(index, kMaxIndexBytes);
  TensorTable whole;
  for (const auto& [name, expected] : shards_of(json, index)) {
    const fs::path path = index.parent_path() / name;
    if (!fs::is_regular_file(path)) {
      fail_data(index.string(), ": the shard ", quote(name), " is missing beside the index; fetch all of them");
    }
    take(whole, read_tensor_file(path), expected, index.string(), name);
  }
  check_total(whole, json);
  return whole;
}

}  // namespace lacuna
