// Parts of a Vit that few networks have: registers, rotary positions, EVA-02's inner norms.

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/init.h"
#include "nn/vit.h"
#include "nn/vit_resize.h"
#include "nn/weights/weights.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

VitConfig small() { return {.image_side = 32, .patch_side = 8, .width = 32, .depth = 2, .heads = 2, .hidden = 48}; }

Vit random_vit(const VitConfig& config) {
  const at::NoGradGuard no_grad;
  Vit vit(config);
  for (auto& parameter : vit->parameters()) parameter.normal_(0, 0.3);
  vit->to(at::kDouble);
  return vit;
}

VitConfig with_all() {
  VitConfig c = small();
  c.registers = 3;
  c.rotary_grid = 16;
  c.attention_norm = c.mlp_norm = true;
  c.activation = Activation::kSwiGlu;
  return c;
}

at::Tensor some_images() { return at::randn({2, 3, 32, 32}, at::kDouble); }

TEST(Registers, TakePartInAttentionAndAreNotHandedOut) {
  const at::NoGradGuard no_grad;
  VitConfig c = small();
  c.registers = 3;
  Vit vit = random_vit(c);
  const at::Tensor images = some_images(), tokens = vit->encode(images);
  EXPECT_EQ(tokens.sizes(), (at::IntArrayRef{2, 17, 32}));
  vit->run_blocks(images, {}, nullptr, [](int64_t, const at::Tensor& x) { EXPECT_EQ(x.size(1), 17); });
  vit->reg_token.mul_(2);
  EXPECT_GT(deviation(vit->encode(images), tokens), 1e-3);
}

TEST(Registers, TakeTheirShareOfTheClassTokensAttention) {
  VitConfig c = small();
  c.registers = 1;
  Vit vit = random_vit(c);
  const at::Tensor attention = vit->class_attention(some_images());
  EXPECT_EQ(attention.sizes(), (at::IntArrayRef{2, 16}));
  EXPECT_LT(attention.sum(1).max().item<double>(), 1);
}

TEST(PartsOfEva, WorkOnPickedRowsAsOnTheWholeGrid) {
  const at::NoGradGuard no_grad;
  Vit vit = random_vit(with_all());
  const at::Tensor images = some_images(), all = at::arange(32);
  EXPECT_LE(deviation(vit->encode(images, all), vit->encode(images)), 1e-12);
  // The same patches in another order give the same class token: places follow the rows.
  const at::Tensor rows = torch::tensor({1, 4, 9, 16 + 0, 16 + 7, 16 + 15});
  const at::Tensor turned = torch::tensor({9, 1, 4, 16 + 15, 16 + 0, 16 + 7});
  const at::Tensor a = vit->encode(images, rows), b = vit->encode(images, turned);
  EXPECT_LE(deviation(a.select(1, 0), b.select(1, 0)), 1e-12);
  EXPECT_LE(deviation(a.select(1, 1), b.select(1, 2)), 1e-12);
}

TEST(PartsOfEva, ChangeWhatIsComputed) {
  const at::NoGradGuard no_grad;
  const at::Tensor images = some_images();
  const auto without = [&](auto change) {
    VitConfig c = with_all();
    change(c);
    Vit whole = random_vit(with_all()), less(c);
    less->to(at::kDouble);
    const NamedTensors from = named_tensors(*whole);
    for (const auto& [name, tensor] : named_tensors(*less)) tensor.copy_(*find(from, name));
    return deviation(less->encode(images), whole->encode(images));
  };
  EXPECT_GT(without([](VitConfig& c) { c.rotary_grid.reset(); }), 1e-3);
  EXPECT_GT(without([](VitConfig& c) { c.rotary_grid = 4; }), 1e-3);
  EXPECT_GT(without([](VitConfig& c) { c.attention_norm = false; }), 1e-3);
  EXPECT_GT(without([](VitConfig& c) { c.mlp_norm = false; }), 1e-3);
  EXPECT_GT(without([](VitConfig& c) { c.registers = 0; }), 1e-3);
}

TEST(PartsOfEva, KeepTheirReferenceGridAtAnotherSize) {
  const at::NoGradGuard no_grad;
  VitConfig c = with_all();
  c.positions = Positions::kNone;
  Vit small_grid = random_vit(c), large = resized(small_grid, 64, PositionResize::kBySize);
  EXPECT_EQ(large->config().rotary_grid, 16);
  // Patches at twice the index stand at the same angle: a grid of the four corners' patches sees the same places.
  const at::Tensor pixels = at::randn({1, 3, 8, 8}, at::kDouble);
  const at::Tensor few = small_grid->encode(pixels.repeat({1, 1, 4, 4}), torch::tensor({0, 3, 12}));
  const at::Tensor many = large->encode(pixels.repeat({1, 1, 8, 8}), torch::tensor({0, 6, 48}));
  EXPECT_LE(deviation(few, many), 1e-6);
}

TEST(PartsOfEva, AreRefusedWhereTheyDoNotFit) {
  VitConfig c = small();
  c.registers = 2;
  c.relative_bias = RelativeBiasKind::kShared;
  EXPECT_THROW(validate(c), Error);
  c = small();
  c.heads = 16;  // two channels a head
  c.rotary_grid = 4;
  EXPECT_THROW(validate(c), Error);
}

TEST(PartsOfEva, AreInitialisedByName) {
  Vit vit(with_all());
  initialize(*vit, 1, InitScheme::kMae, "student.vit");
  for (const auto& [name, tensor] : named_tensors(*vit)) EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  EXPECT_GT(vit->reg_token.abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace lacuna
