#include "nn/weights/timm_architectures.h"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace lacuna {
namespace {

constexpr int64_t kEvaGrid = 16;  // EVA-02 was trained at 224 pixels with patches of 14

struct HeadsRow {
  std::string_view start;
  int64_t heads;
};
// The first match counts.
constexpr HeadsRow kHeads[] = {{"vit_giant_patch14_dinov2", 24},
                               {"vit_giant_patch14_reg", 24},
                               {"vit_huge_", 16},
                               {"vit_giant_", 16},
                               {"vit_giantopt_", 16},
                               {"vit_gigantic_", 16},
                               {"vit_so400m_", 16},
                               {"vit_base_patch16_gap_", 16},
                               {"test_vit3", 3},
                               {"test_vit", 2},
                               {"deit3_huge_", 16},
                               {"eva_giant_", 16}};

struct OtherRow {
  std::string_view part, why;
};
// Networks whose tensors can bear a plain ViT's names.
constexpr OtherRow kOthers[] = {{"eva02_enormous", "its norms stand behind attention and MLP"},
                                {"_rpn_", "its norms stand behind attention and MLP"},
                                {"_rope_mixed", "its rotary positions are learned"},
                                {"_rope_ape_", "its rotary positions differ from EVA-02's"},
                                {"_rope_224", "its rotary positions differ from EVA-02's"},
                                {"_pe_core_", "its rotary positions differ from EVA-02's"},
                                {"_pe_lang_", "its rotary positions differ from EVA-02's"},
                                {"_pe_spatial_", "its rotary positions differ from EVA-02's"},
                                {"_dinov3", "its rotary positions differ from EVA-02's"},
                                {"_lingbot", "its rotary positions differ from EVA-02's"},
                                {"_sapiens2", "its rotary positions differ from EVA-02's"},
                                {"relpos_", "its relative positions differ from BEiT's"},
                                {"beit3_", "its norms stand elsewhere"},
                                {"samvit_", "its attention is windowed"}};

// SigLIP's later sizes keep the tanh approximation that the published code uses; the earlier ones in timm do not.
constexpr std::string_view kTanh[] = {"vit_base_patch32_siglip_", "vit_giantopt_", "vit_large_patch16_siglip_512",
                                      "vit_large_patch16_siglip_gap_512", "vit_so400m_patch16_siglip_"};

// Names whose networks have one head for every 64 channels, but for kHeads.
constexpr std::string_view kUsual[] = {"vit_", "deit_", "deit3_", "beit_", "beitv2_", "eva_", "eva02_", "flexivit_"};

bool contains(const std::string& name, std::string_view part) { return name.find(part) != std::string::npos; }

}  // namespace

TimmArchitecture timm_architecture(const std::string& name) {
  TimmArchitecture out;
  const auto heads = std::find_if(std::begin(kHeads), std::end(kHeads),
                                  [&](const HeadsRow& row) { return name.starts_with(row.start); });
  if (heads != std::end(kHeads)) out.heads = heads->heads;
  if (name.starts_with("vit_") && contains(name, "_clip_")) out.norm_eps = 1e-5;
  if (contains(name, "quickgelu")) out.activation = Activation::kQuickGelu;
  if (std::any_of(std::begin(kTanh), std::end(kTanh), [&](std::string_view start) { return name.starts_with(start); }))
    out.activation = Activation::kGeluTanh;
  if (name.starts_with("eva02_") || contains(name, "_rope_reg")) out.rotary_grid = kEvaGrid;
  out.usual_heads = std::any_of(std::begin(kUsual), std::end(kUsual),
                                [&](std::string_view start) { return name.starts_with(start); });
  const auto other = std::find_if(std::begin(kOthers), std::end(kOthers),
                                  [&](const OtherRow& row) { return contains(name, row.part); });
  if (other != std::end(kOthers)) out.why_not = other->why;
  return out;
}

int64_t unusual_heads(int64_t width) {
  for (const int64_t each : {1152, 1280, 1408, 1664, 1792}) {
    if (each == width) return 16;
  }
  return 0;
}

}  // namespace lacuna
