#pragma once
// One row of the table of frozen networks (golden/models): how it is opened and run, and the comparison with what the
// reference program gave.

#include <functional>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/golden.h"

namespace lacuna::testing {

using Outputs = std::map<std::string, at::Tensor>;

// The stored inputs and outputs of a case; remembers which inputs were asked for.
class Stored {
 public:
  Stored(const std::filesystem::path& file, at::ScalarType dtype) : file_(file), dtype_(dtype) {}

  at::ScalarType dtype() const { return dtype_; }
  const TensorFile& file() const { return file_; }
  // Images and other real numbers in the dtype of the run, ids as they are.
  at::Tensor input(const std::string& key) {
    const at::Tensor value = raw("input." + key);
    return at::isFloatingType(value.scalar_type()) ? value.to(dtype_) : value;
  }
  at::Tensor raw(const std::string& key) {
    used_.insert(key);
    return to_tensor(file_.at(key));
  }
  const std::set<std::string>& used() const { return used_; }

 private:
  TensorFile file_;
  at::ScalarType dtype_;
  std::set<std::string> used_;
};

struct FrozenCase {
  std::string network;  // file or folder below golden/models
  std::string io;       // what it is compared with
  std::function<Outputs(const std::filesystem::path& network, Stored& stored)> run;
  bool whole = true;  // every stored output is compared; twins of a network give only some of them
  // Outputs (by prefix) that this case leaves alone, each with the reason.
  std::vector<std::pair<std::string, std::string>> left_out = {};
  // Outputs (by prefix) whose reference is not exact in float64: the limit that golden/models/README.md states.
  std::vector<std::pair<std::string, double>> looser = {};
};

inline void PrintTo(const FrozenCase& each, std::ostream* out) { *out << each.network; }

template <class T>
const T* of_prefix(const std::vector<std::pair<std::string, T>>& table, const std::string& key) {
  for (const auto& [prefix, value] : table) {
    if (key.starts_with(prefix)) return &value;
  }
  return nullptr;
}

// Runs the case and compares: ids exactly, everything else relative to max(1, rms) of the stored tensor.
inline void compare(const FrozenCase& each, at::ScalarType dtype, Ledger& ledger) {
  const at::NoGradGuard no_grad;
  Stored stored(golden_path("models/" + each.io), dtype);
  const Outputs found = each.run(golden_path("models/" + each.network), stored);
  std::set<std::string> compared;
  for (const std::string& key : stored.file().names()) {
    if (!key.starts_with("output.")) continue;
    const auto mine = found.find(key.substr(7));
    if (mine == found.end()) {
      EXPECT_TRUE(!each.whole || stored.used().contains(key) || of_prefix(each.left_out, key.substr(7)))
          << "nothing was compared with " << key;
      continue;
    }
    compared.insert(mine->first);
    const at::Tensor wanted = to_tensor(stored.file().at(key));
    if (!at::isFloatingType(wanted.scalar_type())) {
      ledger.expect("ids", key, deviation(mine->second, wanted), 0);
      continue;
    }
    const double* stated = of_prefix(each.looser, key.substr(7));
    const double limit = dtype == at::kDouble ? (stated ? *stated : 1e-12) : 1e-5;
    const double rms = std::sqrt(wanted.to(at::kDouble).square().mean().item<double>());
    ledger.expect(stated ? "largest, where the reference rounds to float32" : "largest", key,
                  deviation(mine->second, wanted) / std::max(1.0, rms), limit);
  }
  EXPECT_EQ(compared.size(), found.size()) << "an output was made that no stored tensor answers to";
  EXPECT_FALSE(compared.empty());
  if (!each.whole) return;
  for (const std::string& key : stored.file().names()) {
    if (!key.starts_with("input.")) continue;
    EXPECT_TRUE(stored.used().contains(key) || of_prefix(each.left_out, key)) << key << " was not used";
  }
}

}  // namespace lacuna::testing
