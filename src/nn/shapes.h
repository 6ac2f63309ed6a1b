#pragma once
// The legend of dimension letters used in every shape comment of this project:
//
//   B batch      N patches of the grid   V visible patches   M masked patches   R tokens of a picked region
//   T tokens of any sequence             D width             H heads            K target width or classes
//   G grid side  P patch side in pixels  S image side in pixels                 C context length of a text
//   I channels of an image
//
// Shapes are checked at public seams only.

#include <initializer_list>
#include <string>

#include "nn/torch.h"

namespace lacuna {

inline constexpr int64_t kAny = -1;

std::string shape_text(const at::Tensor& tensor);
std::string shape_text(at::IntArrayRef sizes);

// Throws std::logic_error when `tensor` does not have the given sizes (kAny matches all).
void expect_shape(const at::Tensor& tensor, std::initializer_list<int64_t> sizes, const char* what);

}  // namespace lacuna
