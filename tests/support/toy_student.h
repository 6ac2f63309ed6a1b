#pragma once
// Small students of any kind with weights by seed, their inputs, and ways to poke them.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "mim/student.h"
#include "support/golden.h"

namespace lacuna::testing {

// A grid of 4 x 4 patches of 8 pixels.
inline VitConfig toy_vit() {
  VitConfig c;
  c.image_side = 32;
  c.patch_side = 8;
  c.width = 24;
  c.depth = 3;
  c.heads = 3;
  c.hidden = 48;
  c.positions = Positions::kSinCos;
  return c;
}

// Every parameter by seed, those that usually start at zero included, in float64: nothing is left out of a computation
// by its first value.
inline void scatter(torch::nn::Module& module, std::uint64_t seed = 1) {
  module.to(at::kDouble);
  const at::NoGradGuard no_grad;
  for (auto& [name, parameter] : named_tensors(module))
    parameter.copy_(0.3 * unit_tensor(text(name, seed), parameter.sizes()) +
                    (name.ends_with("norm.weight") ? 1.0 : 0.0));
}

inline Student toy_student(const StudentConfig& config, const VitConfig& vit = toy_vit(),
                           const CompleterConfig& completer = {}) {
  Student student(config, vit, completer);
  scatter(*student);
  return student;
}

inline at::Tensor toy_images(std::int64_t batch = 2, const std::string& name = "input") {
  return 2 * unit_tensor(name, {batch, 3, 32, 32});
}

inline MaskPlan toy_plan(std::int64_t batch = 2) { return plan_from_masks(filled_masks(batch, 16, 7), at::kCPU); }

// Three images of which 0, 3 and 9 patches are hidden.
inline MaskPlan uneven_plan() {
  std::vector<std::vector<std::uint8_t>> masks;
  for (const std::int64_t hidden : {0, 3, 9}) masks.push_back(filled_masks(1, 16, hidden)[0]);
  return plan_from_masks(masks, at::kCPU);
}

// The images with other pixels in the patches named by flat rows.
inline at::Tensor repainted(const at::Tensor& images, const at::Tensor& rows, std::int64_t patch_side = 8) {
  const std::int64_t batch = images.size(0), grid = images.size(2) / patch_side;
  return images + 3 * at::zeros({batch * grid * grid}, images.options())
                          .index_fill(0, rows, 1.0)
                          .view({batch, 1, grid, 1, grid, 1})
                          .expand({-1, 3, -1, patch_side, -1, patch_side})
                          .reshape(images.sizes());
}

// What an Error says; "accepted" when there is none.
template <class Action>
std::string refusal_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

inline bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}
#define EXPECT_SAYS(message, part) EXPECT_PRED2(::lacuna::testing::says, message, part)

}  // namespace lacuna::testing
