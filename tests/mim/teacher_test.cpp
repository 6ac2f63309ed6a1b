#include "mim/teacher.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "support/golden.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

std::unique_ptr<Teacher> open_teacher(const TeacherConfig& config) { return open_file_teacher(config, {}); }

Tokens observed(Teacher& teacher, const at::Tensor& pixels, const MaskPlan& plan) {
  const Observation seen = teacher.observe(pixels, plan, nullptr);
  EXPECT_EQ(seen.grids.size(), 1u);
  EXPECT_FALSE(seen.of_masked);
  return split_tokens(seen.grids.at(0), plan);
}

struct Layer {
  TeacherLayer layer;
  std::string output;  // of io.safetensors, under output.vision.
};

TEST(ClipTeacher, SaysWhatTransformersGivesForEveryTokenOfEachLayer) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/io.safetensors");
  const auto folder = golden_path("models/clip_hf/quickgelu");
  const TensorFile io(folder / "io.safetensors");
  const at::Tensor pixels = to_tensor(io.at("input.pixel_values"));
  const MaskPlan plan = plan_from_masks(filled_masks(pixels.size(0), 16, 6), at::kCPU);
  Ledger ledger;
  for (const auto& [layer, output] :
       {Layer{TeacherLayer::kProjected, "projected_all"}, Layer{TeacherLayer::kNormed, "post_ln_all"},
        Layer{TeacherLayer::kLastBlock, "hidden_states.2"}}) {
    const auto teacher = open_teacher({.path = folder, .layer = layer});
    const at::Tensor stored = to_tensor(io.at("output.vision." + output));
    EXPECT_EQ(teacher->width(), stored.size(2)) << output;
    const Tokens wanted = split_tokens(stored, plan);
    for (const auto& [dtype, limit] : {std::pair{at::kFloat, 1e-5}, std::pair{at::kDouble, 1e-11}}) {
      teacher->to(at::kCPU, dtype);
      const Tokens found = observed(*teacher, pixels, plan);
      const std::string group = dtype == at::kDouble ? "float64" : "float32";
      ledger.expect_close(group, output + " cls", found.cls, wanted.cls, limit);
      ledger.expect_close(group, output + " visible", found.visible, wanted.visible, limit);
      ledger.expect_close(group, output + " masked", found.masked, wanted.masked, limit);
      EXPECT_FALSE(found.cls.requires_grad());
    }
  }
}

TEST(ClipTeacher, InBf16PointsWhereItPointsInFloat32) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/io.safetensors");
  const auto folder = golden_path("models/clip_hf/quickgelu");
  const at::Tensor pixels = to_tensor(TensorFile(folder / "io.safetensors").at("input.pixel_values"));
  const MaskPlan plan = plan_from_masks(filled_masks(pixels.size(0), 16, 6), at::kCPU);
  const auto teacher = open_teacher({.path = folder});
  const Tokens exact = observed(*teacher, pixels, plan);
  teacher->to(at::kCPU, at::kBFloat16);
  const Tokens rounded = observed(*teacher, pixels, plan);
  EXPECT_EQ(rounded.visible.scalar_type(), at::kBFloat16);
  const auto least_cosine = [](const at::Tensor& a, const at::Tensor& b) {
    return at::cosine_similarity(a.to(at::kDouble), b.to(at::kDouble), -1).min().item<double>();
  };
  Ledger ledger;
  for (const auto& [name, a, b] :
       {std::tuple{"cls", exact.cls, rounded.cls}, std::tuple{"visible", exact.visible, rounded.visible},
        std::tuple{"masked", exact.masked, rounded.masked}})
    ledger.expect("1 - cosine, bfloat16", name, 1 - least_cosine(a, b), 1e-3);
}

TEST(ClipTeacher, TellsWhatItWantsToSee) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  const auto teacher = open_teacher({.path = golden_path("models/clip_hf/quickgelu")});
  EXPECT_EQ(teacher->view().side, 32);
  EXPECT_EQ(teacher->view().stats, kClipStats);
  EXPECT_EQ(teacher->view().kernel, Kernel::kBicubic);
  EXPECT_EQ(teacher->grid(), 4);
  EXPECT_EQ(teacher->patch_side(), 8);
  EXPECT_NE(teacher->describe().find("QuickGELU"), std::string::npos);
}

TEST(ClipTeacher, AFolderThatIsNotThereIsNamed) {
  const auto message = [](const std::filesystem::path& path) -> std::string {
    try {
      open_teacher({.path = path});
    } catch (const Error& error) {
      return error.what();
    }
    return "opened";
  };
  EXPECT_TRUE(message("").starts_with("teacher: no weights given; set teacher=DIR"));
  EXPECT_TRUE(message("/no/such/folder").starts_with("teacher: /no/such/folder: does not exist"));
}

}  // namespace
}  // namespace lacuna
