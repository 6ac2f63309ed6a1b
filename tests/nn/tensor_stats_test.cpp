#include "nn/weights/tensor_stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/torch.h"

namespace lacuna {
namespace {

struct Case {
  DType dtype;
  at::ScalarType scalar;
};
constexpr Case kCases[] = {{DType::kBool, at::kBool}, {DType::kU8, at::kByte},       {DType::kI8, at::kChar},
                           {DType::kI16, at::kShort}, {DType::kI32, at::kInt},       {DType::kI64, at::kLong},
                           {DType::kF16, at::kHalf},  {DType::kBF16, at::kBFloat16}, {DType::kF32, at::kFloat},
                           {DType::kF64, at::kDouble}};

TensorInfo view_of(const at::Tensor& tensor, DType dtype) {
  return {dtype, tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

// More elements than one chunk, an uneven rest, and a mean far from zero.
at::Tensor values(at::ScalarType scalar) {
  const at::Tensor i = at::arange(3 * 4096 + 77, at::kDouble);
  return (50 + 20 * (i * 0.37).sin()).view({1, -1}).to(scalar).contiguous();
}

TEST(TensorStats, AgreeWithLibTorchInEveryType) {
  for (const Case& each : kCases) {
    const at::Tensor tensor = values(each.scalar), wide = tensor.to(at::kDouble);
    const TensorStats found = stats_of(view_of(tensor, each.dtype));
    EXPECT_EQ(found.count, tensor.numel());
    EXPECT_EQ(found.min, wide.min().item<double>()) << dtype_name(each.dtype);
    EXPECT_EQ(found.max, wide.max().item<double>());
    EXPECT_NEAR(found.mean, wide.mean().item<double>(), 1e-11);
    EXPECT_NEAR(found.std, wide.std(/*unbiased=*/false).item<double>(), 1e-11);
    EXPECT_EQ(found.zeros, (wide == 0).sum().item<int64_t>());
    EXPECT_EQ(found.nan + found.infinite, 0);
  }
}

TEST(TensorStats, WhatIsNotFiniteIsCountedAndLeftOut) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const at::Tensor tensor = torch::tensor({nan, 1.0, inf, 0.0, 3.0, -inf, 0.0}, at::kFloat);
  const TensorStats found = stats_of(view_of(tensor, DType::kF32));
  EXPECT_EQ(found.nan, 1);
  EXPECT_EQ(found.infinite, 2);
  EXPECT_EQ(found.zeros, 2);
  EXPECT_EQ(found.min, 0);
  EXPECT_EQ(found.max, 3);
  EXPECT_EQ(found.mean, 1);
  EXPECT_NEAR(found.std, std::sqrt(1.5), 1e-15);
  const TensorStats none = stats_of({DType::kF32, {0}, {}});
  EXPECT_EQ(none.count, 0);
  EXPECT_TRUE(std::isnan(none.mean) && std::isnan(none.min));
}

TEST(TensorDifference, TellsBytesValuesAndShapes) {
  const at::Tensor a = values(at::kFloat);
  at::Tensor b = a.clone();
  EXPECT_TRUE(difference(view_of(a, DType::kF32), view_of(b, DType::kF32)).identical);
  b[0][5000] += 0.5;
  const TensorDifference apart = difference(view_of(a, DType::kF32), view_of(b, DType::kF32));
  EXPECT_FALSE(apart.identical);
  EXPECT_EQ(apart.differ, 1);
  EXPECT_NEAR(apart.largest, 0.5, 1e-5);
  EXPECT_NEAR(apart.relative, apart.largest / a.max().item<double>(), 1e-12);
  EXPECT_FALSE(difference(view_of(a, DType::kF32), view_of(a.view({-1}), DType::kF32)).same_shape);

  const at::Tensor small = at::arange(100, at::kHalf), wide = small.to(at::kDouble);
  const TensorDifference retyped = difference(view_of(small, DType::kF16), view_of(wide, DType::kF64));
  EXPECT_FALSE(retyped.identical);
  EXPECT_EQ(retyped.differ, 0);
  EXPECT_EQ(retyped.largest, 0);
}

TEST(TensorDifference, NanEqualsNanAndNothingElse) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const at::Tensor a = torch::tensor({nan, inf, 1.0}), same = torch::tensor({nan, inf, 1.0}, at::kDouble);
  EXPECT_EQ(difference(view_of(a, DType::kF32), view_of(same, DType::kF64)).differ, 0);
  for (const at::Tensor& other : {torch::tensor({0.0, inf, 1.0}), torch::tensor({nan, -inf, 1.0})}) {
    const TensorDifference apart = difference(view_of(a, DType::kF32), view_of(other, DType::kF32));
    EXPECT_EQ(apart.differ, 1);
    EXPECT_TRUE(std::isinf(apart.largest));
  }
}

}  // namespace
}  // namespace lacuna
