#pragma once
// Which patches are hidden: the settings, and drawing a plan by them. The generators themselves are in mask_draw.h.

#include <cstdint>
#include <optional>
#include <span>

#include "base/config.h"
#include "mim/mask_plan.h"
#include "nn/torch.h"

namespace lacuna {

enum class MaskKind { kNone, kRandom, kBlock, kBlockToppedUp, kBlockLoose, kAttention };
inline constexpr Named<MaskKind> kMaskKinds[] = {
    {MaskKind::kNone, "none", "every patch is visible"},
    {MaskKind::kRandom, "random", "patches, or squares of them, drawn one by one"},
    {MaskKind::kBlock, "block", "rectangles until the count is exact"},
    {MaskKind::kBlockToppedUp, "block_topped_up", "rectangles, then single patches until the count is exact"},
    {MaskKind::kBlockLoose, "block_loose", "rectangles until none is found; may hide fewer than the count"},
    {MaskKind::kAttention, "attention", "patches that the guide's class token attends to stay visible more often"}};

// How ratio * N becomes a whole number of hidden patches. Official generators differ.
enum class Rounding { kDown, kKeepDown, kUp, kNearest };
inline constexpr Named<Rounding> kRoundings[] = {
    {Rounding::kDown, "down", "the integer part of ratio * N is hidden"},
    {Rounding::kKeepDown, "keep_down", "the integer part of (1 - ratio) * N stays visible"},
    {Rounding::kUp, "up", "the next whole number"},
    {Rounding::kNearest, "nearest", "the nearest whole number, halves to even"}};

struct MaskConfig {
  MaskKind kind = MaskKind::kBlock;
  double ratio = 0.4;
  std::optional<int64_t> count;
  int64_t min_block = 16;
  std::optional<int64_t> max_block;
  double min_aspect = 0.3;
  int64_t unit = 1;
  std::optional<double> ratio_max;
  double clean_share = 0;
  Rounding rounding = Rounding::kDown;

  void fields(Fields& f);

  // The most patches that a sample hides on a grid of N: `count`, or the rounded share. A ratio counts whole squares of
  // unit x unit patches.
  int64_t hidden(int64_t patches) const;
  // Whether samples of one batch may hide different numbers of patches.
  bool may_be_uneven() const;
};

// Draws one mask per sample from (seed, epoch, sample, crop): the same on any rank.
class Masker {
 public:
  // Throws Error for settings that leave no patch visible, contradict each other, or cannot be met on a grid of
  // grid x grid patches. A mask that hides nothing is allowed; whether that makes sense is for the caller to say.
  Masker(const MaskConfig& config, int64_t grid);

  // `crop` numbers the independent views of one sample. `guide` [B,N] is the importance of each patch, finite and not
  // negative; the attention kind needs it, the others ignore it.
  MaskPlan draw(uint64_t seed, uint64_t epoch, std::span<const int64_t> samples, at::Device device, int crop = 0,
                const at::Tensor& guide = {}) const;

  bool needs_guide() const { return config_.kind == MaskKind::kAttention; }
  const MaskConfig& config() const { return config_; }
  int64_t grid() const { return grid_; }

 private:
  MaskConfig config_;
  int64_t grid_;
};

}  // namespace lacuna
