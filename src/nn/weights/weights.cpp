#include "nn/weights/weights.h"

#include <ATen/InferSize.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "nn/shapes.h"

namespace lacuna {
namespace {

constexpr const char* kZeros = "0";

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return at::kBool;
    case DType::kU8:
      return at::kByte;
    case DType::kI8:
      return at::kChar;
    case DType::kI16:
      return at::kShort;
    case DType::kU16:
      return at::kUInt16;
    case DType::kI32:
      return at::kInt;
    case DType::kU32:
      return at::kUInt32;
    case DType::kI64:
      return at::kLong;
    case DType::kU64:
      return at::kUInt64;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
  }
  invariant(false, "unmapped safetensors dtype");
  return at::kFloat;
}

DType file_dtype(at::ScalarType type) {
  for (const DType dtype : {DType::kBool, DType::kU8, DType::kI8, DType::kI16, DType::kI32, DType::kI64, DType::kF16,
                            DType::kBF16, DType::kF32, DType::kF64}) {
    if (scalar_type(dtype) == type) return dtype;
  }
  invariant(false, "no safetensors dtype for ", at::toString(type));
  return DType::kF32;
}

std::string expand(std::string name, int64_t block) {
  const auto place = name.find("{i}");
  return place == std::string::npos ? name : name.replace(place, 3, std::to_string(block));
}

std::string list_some(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < 5; ++i) out += (i ? ", " : "") + names[i];
  if (names.size() > 5) out += ", and " + std::to_string(names.size() - 5) + " more";
  return out;
}

const std::string* reason_unneeded(const KeyMap& map, const std::string& name) {
  for (const auto& [prefix, reason] : map.unneeded) {
    if (name.starts_with(prefix)) return &reason;
  }
  return nullptr;
}

// The shape that each of the file's tensors of a rule must have; `ours` is one of the rule's destinations.
std::vector<int64_t> wanted_shape(const KeyRule& rule, const at::Tensor& ours) {
  std::vector<int64_t> shape = ours.sizes().vec();
  if (rule.ours.size() > 1) shape.at(0) *= static_cast<int64_t>(rule.ours.size());
  if (!rule.their_shape.empty()) shape = at::infer_size(rule.their_shape, c10::multiply_integers(shape));
  if (rule.theirs.size() > 1) shape.at(0) /= static_cast<int64_t>(rule.theirs.size());
  if (rule.transposed) std::swap(shape.at(0), shape.at(1));
  return shape;
}

class Importer {
 public:
  Importer(const TensorFile& file, const NamedTensors& destination) : file_(file), destination_(destination) {}

  void apply(const KeyRule& rule) {
    std::vector<std::string> missing;
    for (const std::string& name : rule.theirs) {
      if (file_.has(name)) {
        used_.insert(name);
      } else {
        missing.push_back(name);
      }
    }
    const at::Tensor* ours = any_destination(rule);
    if (ours == nullptr) return;  // a part of the file's network that this one does not have
    if (missing.empty()) {
      place(rule, read(rule, wanted_shape(rule, *ours)));
    } else {
      for (const std::string& name : rule.ours) missing_.emplace(name, list_some(missing));
    }
  }

  void account(const KeyMap& map) const {
    std::vector<std::string> unfilled, unused;
    for (const auto& [name, tensor] : destination_) {
      if (filled_.contains(name)) continue;
      const auto missing = missing_.find(name);
      unfilled.push_back(missing == missing_.end() ? name : name + " (there: " + missing->second + ")");
    }
    for (const std::string& name : file_.names()) {
      if (!used_.contains(name) && reason_unneeded(map, name) == nullptr) unused.push_back(name);
    }
    check(unfilled.empty(), file_.path().string(), ": ", unfilled.size(),
          " tensors of the model are not in the file: ", list_some(unfilled),
          unused.empty() ? "" : "; the file has instead: ", list_some(unused));
    check(unused.empty(), file_.path().string(), ": ", unused.size(),
          " tensors of the file have no place in the model: ", list_some(unused));
  }

 private:
  const at::Tensor* any_destination(const KeyRule& rule) const {
    for (const std::string& name : rule.ours) {
      if (const at::Tensor* target = find(destination_, name)) return target;
    }
    return nullptr;
  }

  // The file's tensors of the rule as one, laid along their first dimension.
  at::Tensor read(const KeyRule& rule, const std::vector<int64_t>& wanted) const {
    std::vector<at::Tensor> parts;
    for (const std::string& name : rule.theirs) {
      parts.push_back(to_tensor(file_, name));
      check(parts.back().sizes() == at::IntArrayRef(wanted), file_.path().string(), ": tensor '", name, "' has shape ",
            shape_text(parts.back()), ", but the model built from the configuration needs ",
            shape_text(at::IntArrayRef(wanted)));
      check(at::isFloatingType(parts.back().scalar_type()), file_.path().string(), ": tensor '", name,
            "' holds integers, but weights are floating-point numbers");
    }
    const at::Tensor whole = parts.size() == 1 ? parts[0] : at::cat(parts);
    return rule.transposed ? whole.t() : whole;
  }

  void place(const KeyRule& rule, const at::Tensor& whole) {
    const auto count = static_cast<int64_t>(rule.ours.size());
    for (int64_t i = 0; i < count; ++i) {
      const std::string& name = rule.ours[static_cast<size_t>(i)];
      const at::Tensor* target = find(destination_, name);
      if (target == nullptr) continue;
      const auto [before, fresh] = filled_.emplace(name, rule.theirs);
      check(fresh || before->second == rule.theirs, file_.path().string(), ": both '", before->second[0], "' and '",
            rule.theirs[0], "' would fill ", name);
      target->copy_((count == 1 ? whole : whole.chunk(count)[static_cast<size_t>(i)]).reshape(target->sizes()));
    }
  }

  const TensorFile& file_;
  const NamedTensors& destination_;
  std::set<std::string> used_;
  std::map<std::string, std::vector<std::string>> filled_;  // our name -> the file's tensors it came from
  std::map<std::string, std::string> missing_;              // our name -> the file's tensors it would need
};

}  // namespace

NamedTensors named_tensors(const torch::nn::Module& module, const std::string& prefix, bool buffers) {
  NamedTensors out;
  for (const auto& item : module.named_parameters()) out.emplace_back(prefix + item.key(), item.value());
  if (buffers) {
    for (const auto& item : module.named_buffers()) out.emplace_back(prefix + item.key(), item.value());
  }
  return out;
}

int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& parameter : module.parameters()) count += parameter.numel();
  return count;
}

const at::Tensor* find(const NamedTensors& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

at::Tensor to_tensor(const TensorInfo& info) {
  at::Tensor out = at::empty(info.shape, scalar_type(info.dtype));
  if (!info.data.empty()) std::memcpy(out.data_ptr(), info.data.data(), info.data.size());
  return out;
}

at::Tensor to_tensor(const TensorFile& file, const std::string& name) {
  at::Tensor out = to_tensor(file.at(name));
  file.let_go(name);
  return out;
}

std::vector<TensorView> to_views(const NamedTensors& tensors, std::vector<at::Tensor>& keep) {
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    keep.push_back(tensor.detach().to(at::kCPU).contiguous());
    views.push_back({name, file_dtype(tensor.scalar_type()), keep.back().sizes().vec(), keep.back().data_ptr()});
  }
  return views;
}

void KeyMap::add(const std::string& ours, const std::string& theirs) {
  for (const char* leaf : {".weight", ".bias"}) rules.push_back({{ours + leaf}, {theirs + leaf}});
}

void KeyMap::add_each_block(int64_t depth, const std::vector<KeyRule>& block_rules) {
  for (int64_t i = 0; i < depth; ++i) {
    for (KeyRule rule : block_rules) {
      for (std::string& name : rule.ours) name = expand(name, i);
      for (std::string& name : rule.theirs) name = expand(name, i);
      rules.push_back(std::move(rule));
    }
  }
}

void import_weights(const TensorFile& file, const KeyMap& map, const NamedTensors& destination) {
  const at::NoGradGuard no_grad;
  Importer importer(file, destination);
  for (const KeyRule& rule : map.rules) importer.apply(rule);
  importer.account(map);
}

std::vector<std::pair<std::string, std::string>> unneeded_tensors(const TensorFile& file, const KeyMap& map) {
  std::set<std::string> used;
  for (const KeyRule& rule : map.rules) used.insert(rule.theirs.begin(), rule.theirs.end());
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& name : file.names()) {
    const std::string* reason = used.contains(name) ? nullptr : reason_unneeded(map, name);
    if (reason != nullptr) out.emplace_back(name, *reason);
  }
  return out;
}

NamedTensors export_weights(const NamedTensors& source, const KeyMap& map) {
  NamedTensors out;
  for (const KeyRule& rule : map.rules) {
    std::vector<at::Tensor> parts;
    for (const std::string& name : rule.ours) {
      if (name == kZeros) {
        parts.push_back(at::zeros_like(parts.at(0)));
      } else if (const at::Tensor* tensor = find(source, name)) {
        parts.push_back(tensor->detach());
      }
    }
    if (parts.size() != rule.ours.size()) continue;  // an optional layer this network does not have
    at::Tensor whole = parts.size() == 1 ? parts[0] : at::cat(parts);
    if (!rule.their_shape.empty()) whole = whole.reshape(rule.their_shape);
    if (rule.transposed) whole = whole.t();
    const auto pieces =
        whole.dim() == 0 ? std::vector<at::Tensor>{whole} : whole.chunk(static_cast<int64_t>(rule.theirs.size()));
    for (size_t i = 0; i < rule.theirs.size(); ++i) out.emplace_back(rule.theirs[i], pieces[i]);
  }
  return out;
}

}  // namespace lacuna
