#include "nn/shapes.h"

#include "base/error.h"

namespace lacuna {

std::string shape_text(at::IntArrayRef sizes) {
  std::string out = "[";
  for (size_t i = 0; i < sizes.size(); ++i) out += (i ? "," : "") + std::to_string(sizes[i]);
  return out + "]";
}

std::string shape_text(const at::Tensor& tensor) { return tensor.defined() ? shape_text(tensor.sizes()) : "undefined"; }

void expect_shape(const at::Tensor& tensor, std::initializer_list<int64_t> sizes, const char* what) {
  bool fits = tensor.defined() && tensor.dim() == static_cast<int64_t>(sizes.size());
  int64_t i = 0;
  if (fits) {
    for (const int64_t size : sizes) fits = fits && (size == kAny || tensor.size(i) == size), ++i;
  }
  if (fits) return;
  std::string wanted;
  for (const int64_t size : sizes) wanted += (wanted.empty() ? "" : ",") + (size == kAny ? "*" : std::to_string(size));
  invariant(false, what, ": expected shape [", wanted, "], found ", shape_text(tensor));
}

}  // namespace lacuna
