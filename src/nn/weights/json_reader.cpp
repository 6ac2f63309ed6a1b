#include "nn/weights/json_reader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr int64_t kMaxSize = 1 << 20;  // no width, depth or vocabulary of a real network is larger

const std::vector<std::pair<std::string, Activation>>& activation_names() {
  static const std::vector<std::pair<std::string, Activation>> kNames = {{"gelu", Activation::kGelu},
                                                                         {"quick_gelu", Activation::kQuickGelu},
                                                                         {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                                                         {"gelu_new", Activation::kGeluTanh}};
  return kNames;
}

}  // namespace

JsonReader::JsonReader(const nlohmann::json& json, std::string where) : json_(json), where_(std::move(where)) {
  check(json_.is_object(), where_, ": expected an object");
}

int64_t JsonReader::size(const char* key, int64_t fallback) const {
  if (!json_.contains(key)) return fallback;
  const nlohmann::json& value = json_[key];
  check(value.is_number_integer() && value.get<int64_t>() > 0 && value.get<int64_t>() <= kMaxSize, where_, ": key '",
        key, "' must be a positive integer up to ", kMaxSize, ", found ", printable(value.dump()));
  return value.get<int64_t>();
}

double JsonReader::number(const char* key, double fallback) const {
  if (!json_.contains(key)) return fallback;
  check(json_[key].is_number(), where_, ": key '", key, "' must be a number, found ", printable(json_[key].dump()));
  return json_[key].get<double>();
}

bool JsonReader::flag(const char* key, bool fallback) const {
  if (!json_.contains(key)) return fallback;
  check(json_[key].is_boolean(), where_, ": key '", key, "' must be true or false, found ",
        printable(json_[key].dump()));
  return json_[key].get<bool>();
}

std::string JsonReader::word(const char* key, const char* fallback) const {
  if (!json_.contains(key)) return fallback;
  check(json_[key].is_string(), where_, ": key '", key, "' must be a word, found ", printable(json_[key].dump()));
  return json_[key].get<std::string>();
}

Activation JsonReader::activation(const char* key, const char* fallback) const {
  const std::string found = word(key, fallback);
  std::string known;
  for (const auto& [name, value] : activation_names()) {
    if (name == found) return value;
    known += (known.empty() ? "" : ", ") + name;
  }
  fail(where_, ": key '", key, "' is '", printable(found), "'; known activations are ", known);
}

std::vector<double> JsonReader::channels(const char* key, const std::vector<double>& fallback) const {
  if (!json_.contains(key)) return fallback;
  const nlohmann::json& values = json_[key];
  const bool fits = values.is_array() && values.size() == fallback.size();
  check(fits && std::all_of(values.begin(), values.end(), [](const auto& value) { return value.is_number(); }), where_,
        ": key '", key, "' must be ", fallback.size(), " numbers, found ", printable(values.dump()));
  return values.get<std::vector<double>>();
}

JsonReader JsonReader::object(const char* key) const {
  check(json_.contains(key), where_, ": expected the key ", key);
  return {json_[key], where_ + ": " + key};
}

void JsonReader::confirm(const char* key, int64_t found_in_tensors) const {
  if (!has(key)) return;
  check(size(key, 0) == found_in_tensors, where_, ": key '", key, "' is ", size(key, 0), ", but the tensors say ",
        found_in_tensors);
}

std::string activation_name(Activation activation) {
  for (const auto& [name, value] : activation_names()) {
    if (value == activation) return name;
  }
  return "gelu";
}

}  // namespace lacuna
