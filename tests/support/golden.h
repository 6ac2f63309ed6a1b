#pragma once
// Reference tensors of the CAE family (golden/cae and its README): reading them, the deterministic fill that needs no
// file (cae.md section 11.1), the names of the official code, and a ledger of how far off we are.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/files.h"
#include "io/tensor/tensor_file.h"
#include "nn/position.h"
#include "nn/weights/weights.h"
#include "support/shared.h"

namespace lacuna::testing {

using Json = nlohmann::json;

inline std::filesystem::path golden_path(const std::string& relative) { return shared_folder() / "golden" / relative; }
inline Json golden_json(const std::string& relative) { return read_json(golden_path(relative)); }

// ---- How far off ---------------------------------------------------------------------------------------------------

// Largest absolute difference; infinite where shapes differ, NaN where a value is.
inline double deviation(const at::Tensor& found, const at::Tensor& expected) {
  if (!found.defined() || found.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  if (found.numel() == 0) return 0;
  return (found.detach().to(at::kDouble) - expected.detach().to(at::kDouble)).abs().max().item<double>();
}

inline double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

// Checks deviations against limits and keeps the largest of each group, which the test's XML report then carries as a
// property (docs/fidelity.md is made from these).
class Ledger {
 public:
  Ledger() = default;
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger() {
    for (const auto& [group, worst] : worst_) ::testing::Test::RecordProperty(group, text(worst));
  }

  void expect(const std::string& group, const std::string& what, double found, double limit) {
    EXPECT_LE(found, limit) << group << ": " << what;
    double& worst = worst_[group];
    if (!(found <= worst)) worst = found;
  }
  void expect_close(const std::string& group, const std::string& what, const at::Tensor& found,
                    const at::Tensor& expected, double limit) {
    expect(group, what, deviation(found, expected), limit);
  }
  // |found - expected| / |expected|, for numbers that are not near zero.
  void expect_relative(const std::string& group, const std::string& what, double found, double expected, double limit) {
    expect(group, text(what, ": found ", found, ", expected ", expected),
           std::abs(found - expected) / std::max(std::abs(expected), 1e-300), limit);
  }

 private:
  std::map<std::string, double> worst_;
};

// ---- The deterministic fill ----------------------------------------------------------------------------------------

inline std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

// unit(name, i) of section 11.1, `seed` being the name's CRC: uniform on a grid of 2^24 values in [-1, 1).
inline double unit(std::uint32_t seed, std::uint64_t i) {
  std::uint64_t z = (std::uint64_t{seed} << 32) + i + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return 2.0 * (static_cast<double>(z >> 40) / 16777216.0) - 1.0;
}

inline at::Tensor unit_tensor(const std::string& name, at::IntArrayRef sizes) {
  const at::Tensor out = at::empty(sizes, at::kDouble);
  const std::uint32_t seed = crc32(name);
  double* values = out.data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i) values[i] = unit(seed, static_cast<std::uint64_t>(i));
  return out;
}

// The value of a parameter from its official key.
inline at::Tensor filled_parameter(const std::string& official, at::IntArrayRef sizes) {
  const at::Tensor r = unit_tensor(official, sizes);
  if (official.find("gamma") != std::string::npos) return 0.1 + 0.05 * r;
  if (official.find("norm") != std::string::npos && official.ends_with(".weight")) return 1.0 + 0.1 * r;
  return (sizes.size() >= 2 ? 0.04 : 0.1) * r;
}

// mask[b, p] = ((5 p + 3 b) mod N) < M, one per sample.
inline std::vector<std::vector<std::uint8_t>> filled_masks(std::int64_t batch, std::int64_t patches,
                                                           std::int64_t masked) {
  std::vector<std::vector<std::uint8_t>> masks(static_cast<std::size_t>(batch));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t p = 0; p < patches; ++p)
      masks[static_cast<std::size_t>(b)].push_back((5 * p + 3 * b) % patches < masked);
  }
  return masks;
}

// CAE's classes by the rule, on the grid [B,N]: the k-th masked token of all has (31 k + 7 floor(k / M)) mod V; visible
// ones, whose class nobody reads, have 0.
inline at::Tensor filled_classes(std::int64_t batch, std::int64_t patches, std::int64_t masked, std::int64_t classes) {
  const at::Tensor out = at::zeros({batch, patches}, at::kLong);
  const auto masks = filled_masks(batch, patches, masked);
  std::int64_t k = 0;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t p = 0; p < patches; ++p) {
      if (masks[static_cast<std::size_t>(b)][static_cast<std::size_t>(p)] == 0) continue;
      out[b][p] = (31 * k + 7 * (k / masked)) % classes;
      ++k;
    }
  }
  return out;
}

// [sum, sum of squares, dot with unit("probe:" + key)] over the values in row-major order: the dot catches
// permutations.
inline std::array<double, 3> probe(const std::string& key, const at::Tensor& tensor) {
  const at::Tensor x = tensor.detach().to(at::kDouble).contiguous().flatten();
  return {x.sum().item<double>(), x.square().sum().item<double>(),
          (x * unit_tensor("probe:" + key, x.sizes())).sum().item<double>()};
}

// ---- Names of the official code ------------------------------------------------------------------------------------

// "theirs" are the parameters of Atten4Vis/CAE. "ours" are those of a Method: of CAE v2 with one objective, "target";
// of CAE (decoder_depth > 0) with the objectives "tokens" and "align".
inline KeyMap official_cae_names(std::int64_t depth, std::int64_t regressor_depth, std::int64_t decoder_depth) {
  const auto block = [](const std::string& ours, const std::string& theirs) {
    std::vector<KeyRule> rules = {{{ours + "ls1.gamma"}, {theirs + "gamma_1"}},
                                  {{ours + "ls2.gamma"}, {theirs + "gamma_2"}},
                                  {{ours + "attn.q_bias"}, {theirs + "attn.q_bias"}},
                                  {{ours + "attn.v_bias"}, {theirs + "attn.v_bias"}},
                                  {{ours + "attn.qkv.weight"}, {theirs + "attn.qkv.weight"}}};
    for (const char* layer : {"attn.proj", "norm1", "norm2", "mlp.fc1", "mlp.fc2"}) {
      for (const char* leaf : {".weight", ".bias"}) rules.push_back({{ours + layer + leaf}, {theirs + layer + leaf}});
    }
    return rules;
  };
  const auto cross_block = [](const std::string& ours, const std::string& theirs) {
    std::vector<KeyRule> rules = {{{ours + "ls1.gamma"}, {theirs + "gamma_1_cross"}},
                                  {{ours + "ls2.gamma"}, {theirs + "gamma_2_cross"}}};
    for (const char* leaf : {"q_bias", "v_bias", "q.weight", "k.weight", "v.weight", "proj.weight", "proj.bias"}) {
      rules.push_back({{ours + "attn." + leaf}, {theirs + "cross_attn." + leaf}});
    }
    const std::pair<const char*, const char*> layers[] = {{"norm_q", "norm1_q"},        {"norm_k", "norm1_k"},
                                                          {"norm_v", "norm1_v"},        {"norm2", "norm2_cross"},
                                                          {"mlp.fc1", "mlp_cross.fc1"}, {"mlp.fc2", "mlp_cross.fc2"}};
    for (const auto& [mine, other] : layers) {
      for (const char* leaf : {".weight", ".bias"}) rules.push_back({{ours + mine + leaf}, {theirs + other + leaf}});
    }
    return rules;
  };
  const std::string vit = "student.vit.", regressor = "student.completer.";
  const std::string head = decoder_depth > 0 ? "objective.tokens.head." : "objective.target.head.";
  KeyMap map;
  map.rules.push_back({{vit + "cls_token"}, {"encoder.cls_token"}});
  map.add(vit + "patch_embed", "encoder.patch_embed.proj");
  map.add_each_block(depth, block(vit + "blocks.{i}.", "encoder.blocks.{i}."));
  map.add(vit + "norm", "encoder.norm");
  map.rules.push_back({{regressor + "mask_token"}, {"mask_token"}});
  map.add(regressor + "adapter", "encoder_to_regresser");
  map.add(regressor + "adapter_norm", "encoder_to_regresser_norm");
  map.add_each_block(regressor_depth, cross_block(regressor + "blocks.{i}.", "regresser.regressor_blocks.{i}."));
  map.add(regressor + "norm", "regresser.norm");
  map.add_each_block(decoder_depth, block(head + "blocks.{i}.", "decoder.decoder_blocks.{i}."));
  map.add(head + "norm", "decoder.norm");
  map.add(head + "proj", "decoder.head");
  return map;
}

// Our name -> the official one.
inline std::map<std::string, std::string> official_of_ours(std::int64_t depth, std::int64_t regressor_depth,
                                                           std::int64_t decoder_depth) {
  std::map<std::string, std::string> out;
  for (const KeyRule& rule : official_cae_names(depth, regressor_depth, decoder_depth).rules)
    out[rule.ours.at(0)] = rule.theirs.at(0);
  return out;
}

// ---- One stored case -----------------------------------------------------------------------------------------------

// NAME.json with NAME.safetensors, and the files that it shares weights and inputs with.
class CaeGolden {
 public:
  explicit CaeGolden(const std::string& name)
      : json_(golden_json("cae/" + name + ".json")), name_(name + ".safetensors") {}

  const Json& json() const { return json_; }
  const std::vector<std::string>& keys() { return file(name_).names(); }
  at::Tensor at(const std::string& key) { return to_tensor(file(name_).at(key)); }
  at::Tensor input(const std::string& key) { return to_tensor(file(json_.at("inputs").at(key)).at(key)); }
  at::Tensor weight(const std::string& official) {
    return to_tensor(file(json_.at("weights").at(official)).at("weight." + official));
  }
  // Row `key` of a table whose row names stand in the JSON.
  at::Tensor row(const std::string& table, const std::string& rows, const std::string& key) {
    const auto names = json_.at(rows).get<std::vector<std::string>>();
    const auto place = std::find(names.begin(), names.end(), key);
    if (place == names.end()) return {};
    return at(table).select(-2, place - names.begin());
  }

 private:
  const TensorFile& file(const std::string& name) {
    auto found = files_.find(name);
    if (found == files_.end()) found = files_.emplace(name, TensorFile(golden_path("cae/" + name))).first;
    return found->second;
  }

  Json json_;
  std::string name_;
  std::map<std::string, TensorFile> files_;
};

}  // namespace lacuna::testing
