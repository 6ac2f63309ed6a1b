#pragma once
// One object of a configuration file that somebody else's program wrote, read key by key. Absent keys take the
// fallback; every other fault throws Error that names file, key, expected and found.

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "nn/layers.h"

namespace lacuna {

inline constexpr std::uint64_t kMaxConfigBytes = 16u << 20;  // of a configuration

class JsonReader {
 public:
  // `where` names the file, and the object within it.
  JsonReader(const nlohmann::json& json, std::string where);

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  int64_t size(const char* key, int64_t fallback) const;  // a positive integer that no real network exceeds
  double number(const char* key, double fallback) const;
  bool flag(const char* key, bool fallback) const;
  std::string word(const char* key, const char* fallback) const;
  Activation activation(const char* key, const char* fallback) const;
  std::vector<double> channels(const char* key, const std::vector<double>& fallback) const;
  JsonReader object(const char* key) const;  // Error when absent

  // Throws Error when the key is there and contradicts what the tensors say.
  void confirm(const char* key, int64_t found_in_tensors) const;

  const nlohmann::json& json() const { return json_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& json_;
  std::string where_;
};

// transformers' name of an activation.
std::string activation_name(Activation activation);

}  // namespace lacuna
