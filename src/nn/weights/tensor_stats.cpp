#include "nn/weights/tensor_stats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "base/error.h"
#include "nn/torch.h"

namespace lacuna {
namespace {

constexpr std::size_t kChunk = 4096;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <class T>
void widen(const std::byte* from, std::span<double> to) {
  for (double& value : to) {
    T raw;
    std::memcpy(&raw, from, sizeof(T));
    value = static_cast<double>(raw);
    from += sizeof(T);
  }
}

void widen(const TensorInfo& tensor, std::size_t first, std::span<double> to) {
  const std::byte* from = tensor.data.data() + first * dtype_size(tensor.dtype);
  switch (tensor.dtype) {
    case DType::kBool:
    case DType::kU8:
      return widen<std::uint8_t>(from, to);
    case DType::kI8:
      return widen<std::int8_t>(from, to);
    case DType::kI16:
      return widen<std::int16_t>(from, to);
    case DType::kU16:
      return widen<std::uint16_t>(from, to);
    case DType::kI32:
      return widen<std::int32_t>(from, to);
    case DType::kU32:
      return widen<std::uint32_t>(from, to);
    case DType::kI64:
      return widen<std::int64_t>(from, to);
    case DType::kU64:
      return widen<std::uint64_t>(from, to);
    case DType::kF16:
      return widen<c10::Half>(from, to);
    case DType::kBF16:
      return widen<c10::BFloat16>(from, to);
    case DType::kF32:
      return widen<float>(from, to);
    case DType::kF64:
      return widen<double>(from, to);
  }
  invariant(false, "a type that is not widened");
}

std::size_t elements(const TensorInfo& tensor) { return tensor.data.size() / dtype_size(tensor.dtype); }

// Mean and sum of squared deviations, added up chunk by chunk (Chan, Golub and LeVeque, 1979).
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void add(std::span<const double> finite) {
    if (finite.empty()) return;
    Moments other{.count = static_cast<double>(finite.size())};
    for (const double value : finite) other.mean += value / other.count;
    for (const double value : finite) other.squares += (value - other.mean) * (value - other.mean);
    const double total = count + other.count, step = other.mean - mean;
    squares += other.squares + step * step * count * other.count / total;
    mean += step * other.count / total;
    count = total;
  }
};

}  // namespace

TensorStats stats_of(const TensorInfo& tensor) {
  TensorStats out{.count = static_cast<std::int64_t>(elements(tensor)), .min = kInfinity, .max = -kInfinity};
  Moments moments;
  std::array<double, kChunk> buffer;
  for (std::size_t first = 0; first < elements(tensor); first += kChunk) {
    const std::span<double> values = std::span(buffer).first(std::min(kChunk, elements(tensor) - first));
    widen(tensor, first, values);
    std::size_t finite = 0;
    for (const double value : values) {
      out.nan += std::isnan(value);
      out.infinite += std::isinf(value);
      out.zeros += value == 0;
      if (!std::isfinite(value)) continue;
      out.min = std::min(out.min, value);
      out.max = std::max(out.max, value);
      buffer[finite++] = value;
    }
    moments.add(values.first(finite));
  }
  if (moments.count == 0) out.min = out.max = kNan;
  out.mean = moments.count > 0 ? moments.mean : kNan;
  out.std = moments.count > 0 ? std::sqrt(moments.squares / moments.count) : kNan;
  return out;
}

TensorDifference difference(const TensorInfo& a, const TensorInfo& b) {
  TensorDifference out{.same_shape = a.shape == b.shape};
  if (!out.same_shape) return out;
  out.identical = a.dtype == b.dtype && std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end());
  if (out.identical) return out;
  double scale = 0;
  std::array<double, kChunk> left, right;
  for (std::size_t first = 0; first < elements(a); first += kChunk) {
    const std::size_t count = std::min(kChunk, elements(a) - first);
    widen(a, first, std::span(left).first(count));
    widen(b, first, std::span(right).first(count));
    for (std::size_t i = 0; i < count; ++i) {
      if (std::isfinite(left[i])) scale = std::max(scale, std::abs(left[i]));
      if (left[i] == right[i] || (std::isnan(left[i]) && std::isnan(right[i]))) continue;
      const double distance = std::abs(left[i] - right[i]);
      out.largest = std::max(out.largest, std::isnan(distance) ? kInfinity : distance);
      ++out.differ;
    }
  }
  out.relative = out.largest / (scale > 0 ? scale : 1);
  return out;
}

}  // namespace lacuna
