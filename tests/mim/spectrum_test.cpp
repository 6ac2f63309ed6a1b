// Students of other than three channels, and what their teachers see.

#include <gtest/gtest.h>

#include "base/error.h"
#include "mim/composition.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lacuna {
namespace {

using namespace testing;  // NOLINT

constexpr int64_t kChannels = 5;

Composition with_teacher(TeacherConfig teacher) {
  Composition c;
  c.mask = {.kind = MaskKind::kRandom, .ratio = 0.5};
  c.student.vit = named_vit("micro");
  c.student.vit.depth = 1;
  c.student.image_side = 32;
  c.student.patch_side = 8;
  c.student.spectrum = kChannels;
  c.student.stats = {.mean = {0.1, 0.2, 0.3, 0.4, 0.5}, .std = {0.5, 0.4, 0.3, 0.2, 0.1}};
  ObjectiveConfig objective{.teacher = std::move(teacher)};
  objective.distill.region = {.cls = 0, .visible = 1, .masked = 0};
  c.objectives = {objective};
  return c;
}

Batch batch_for(const Method& method) {
  Batch batch{.views = {}, .ids = {0, 1}, .labels = {}, .captions = {}};
  for (const ViewSpec& view : method.views()) {
    std::vector<std::uint8_t> pixels(2 * view.bytes());
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i % 251);
    batch.views.push_back(normalize_pixels(pixels, 2, view, at::kCPU));
  }
  return batch;
}

std::string fault(const Composition& c) {
  try {
    build_method(c, nullptr, 0);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_FAULT(composition, part) \
  EXPECT_NE(fault(composition).find(part), std::string::npos) << fault(composition)

TEST(SpectrumStudent, LearnsFromEveryChannelOfItsView) {
  const auto method = build_method(with_teacher({.kind = TeacherKind::kPixels}), nullptr, 3);
  const std::vector<ViewSpec> views = method->views();
  ASSERT_EQ(views.size(), 1u) << "its pixels are the target's";
  EXPECT_EQ(views[0].spectrum, kChannels);
  const Batch batch = batch_for(*method);
  EXPECT_EQ(batch.views[0].sizes(), (std::vector<int64_t>{2, kChannels, 32, 32}));
  method->losses(batch, {.seed = 1, .training = false}).total.backward();
  const at::Tensor gradient = method->student()->vit->patch_embed->weight.grad();  // [D,IPP]
  ASSERT_EQ(gradient.size(1), kChannels * 64);
  EXPECT_TRUE(gradient.unflatten(1, {kChannels, 64}).abs().amax({0, 2}).gt(0).all().item<bool>());
  for (const auto& objective : method->objectives()) {
    bool found = false;  // the head gives a number for each pixel of a patch
    for (const auto& parameter : objective->named_parameters())
      found |= parameter.value().dim() == 1 && parameter.value().size(0) == kChannels * 64;
    EXPECT_TRUE(found);
  }
}

// Channels 3 and 4 without weight leave a student of three.
TEST(SpectrumStudent, WithoutWeightOnTheOthersIsAStudentOfThree) {
  VitConfig config = named_vit("micro");
  config.depth = 1, config.image_side = 32, config.patch_side = 8;
  Vit three(config);
  config.channels = kChannels;
  Vit five(config);
  at::manual_seed(1);
  const at::NoGradGuard no_grad;
  for (const auto& item : named_tensors(*three, "")) item.second.normal_(0, 0.1);
  for (const auto& [name, tensor] : named_tensors(*five, "")) {
    const NamedTensors all = named_tensors(*three, "");
    const at::Tensor source = *find(all, name);
    if (name == "patch_embed.weight") {
      tensor.zero_().slice(1, 0, 3 * 64).copy_(source);
    } else {
      tensor.copy_(source);
    }
  }
  const at::Tensor images = at::randn({2, kChannels, 32, 32});
  EXPECT_TRUE(five->encode(images).allclose(three->encode(images.slice(1, 0, 3)), 0, 1e-5));
}

TEST(SpectrumStudent, ItsTwinSeesTheSameAndTargetsOfColoursSeeColours) {
  const auto twin = build_method(with_teacher({.kind = TeacherKind::kMomentum}), nullptr, 3);
  ASSERT_EQ(twin->views().size(), 1u);
  EXPECT_TRUE(twin->losses(batch_for(*twin), {.training = false}).total.isfinite().item<bool>());
  const auto hog = build_method(with_teacher({.kind = TeacherKind::kHog}), nullptr, 3);
  ASSERT_EQ(hog->views().size(), 2u);
  EXPECT_EQ(hog->views()[1].spectrum, 0);
  EXPECT_TRUE(hog->losses(batch_for(*hog), {.training = false}).total.isfinite().item<bool>());
}

TEST(SpectrumStudent, AClipBesideItSeesThreeBands) {
  LACUNA_NEEDS_SHARED("golden/models/clip_hf/quickgelu/config.json");
  Composition c = with_teacher({.path = golden_path("models/clip_hf/quickgelu")});
  const auto method = build_method(c, nullptr, 3);
  ASSERT_EQ(method->views().size(), 2u);
  EXPECT_EQ(method->views()[0].spectrum, kChannels);
  EXPECT_EQ(method->views()[1].spectrum, 0);
  EXPECT_EQ(method->views()[1].stats, kClipStats);
  EXPECT_TRUE(method->losses(batch_for(*method), {.training = false}).total.isfinite().item<bool>());
  c.objectives[0].teacher.pixels = TeacherPixels::kStudent;
  EXPECT_FAULT(c, "teacher.pixels");
}

TEST(SpectrumStudent, MayHaveATeacherOfItsOwnChannels) {
  const TemporaryFolder folder;
  const Composition pixels = with_teacher({.kind = TeacherKind::kPixels});
  EXPECT_EQ(export_student(*build_method(pixels, nullptr, 3), folder / "teacher"), "");
  Composition c = with_teacher({.kind = TeacherKind::kVit, .path = folder / "teacher"});
  const auto method = build_method(c, nullptr, 4);
  ASSERT_EQ(method->views().size(), 1u) << "both see the same pixels";
  EXPECT_TRUE(method->losses(batch_for(*method), {.training = false}).total.isfinite().item<bool>());
  c.student.spectrum = 0;
  c.student.stats = kImageNetStats;
  EXPECT_FAULT(c, "sees 5 channels, and the data give 3; set data.bands");
}

TEST(SpectrumStudent, NeedsStatisticsOfEachChannel) {
  Composition c = with_teacher({.kind = TeacherKind::kPixels});
  c.student.stats = kImageNetStats;
  EXPECT_FAULT(c, "the student sees 5 channels and needs as many numbers, found 3 and 3");
}

}  // namespace
}  // namespace lacuna
