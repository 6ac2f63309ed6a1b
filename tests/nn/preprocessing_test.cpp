// What the configurations of transformers, timm and OpenCLIP say of pixels, as those programs read them.

#include "nn/weights/preprocessing.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lacuna {
namespace {

using Json = nlohmann::json;

Preprocessing processor(const Json& json) { return read_processor(JsonReader(json, "config"), {}); }
Preprocessing named(const Json& json, int64_t side = 0) {
  return read_named_preprocessing(JsonReader(json, "config"), {.side = side}, kTimmCropPct);
}

void expect_framing(const Preprocessing& found, const Framing& framing, int64_t side) {
  EXPECT_EQ(static_cast<int>(found.framing.fit), static_cast<int>(framing.fit));
  EXPECT_EQ(found.framing.resized, framing.resized);
  EXPECT_EQ(found.framing.truncates, framing.truncates);
  EXPECT_EQ(found.framing.fill, framing.fill);
  EXPECT_EQ(found.side, side);
}

const Json kCrop = {{"height", 224}, {"width", 224}};

TEST(Processors, FrameAsTheirClassesDo) {
  expect_framing(processor({{"image_processor_type", "CLIPImageProcessor"},
                            {"size", {{"shortest_edge", 224}}},
                            {"do_center_crop", true},
                            {"crop_size", kCrop}}),
                 {.fit = Fit::kCrop, .resized = 224, .truncates = true}, 224);
  expect_framing(processor({{"image_processor_type", "BitImageProcessor"},
                            {"size", {{"shortest_edge", 256}}},
                            {"do_center_crop", true},
                            {"crop_size", kCrop}}),
                 {.fit = Fit::kCrop, .resized = 256, .truncates = true}, 224);
  expect_framing(processor({{"image_processor_type", "ViTImageProcessor"}, {"size", kCrop}}),
                 {.fit = Fit::kSquash, .resized = 224, .truncates = true}, 224);
  expect_framing(processor({{"image_processor_type", "BeitImageProcessor"},
                            {"size", {{"height", 256}, {"width", 256}}},
                            {"do_center_crop", true},
                            {"crop_size", kCrop}}),
                 {.fit = Fit::kSquash, .resized = 256, .truncates = true}, 224);
  // As early versions wrote them: a number, whose meaning follows from the class.
  expect_framing(processor({{"feature_extractor_type", "CLIPFeatureExtractor"},
                            {"size", 224},
                            {"do_center_crop", true},
                            {"crop_size", 224}}),
                 {.fit = Fit::kCrop, .resized = 224, .truncates = true}, 224);
  expect_framing(processor({{"feature_extractor_type", "ViTFeatureExtractor"}, {"size", 224}}),
                 {.fit = Fit::kSquash, .resized = 224, .truncates = true}, 224);
}

TEST(Processors, ThatNormaliseOtherwiseAreRefused) {
  EXPECT_THROW(processor({{"do_rescale", false}}), Error);
  EXPECT_THROW(processor({{"rescale_factor", 1.0}}), Error);
  EXPECT_THROW(processor({{"size", {{"height", 224}, {"width", 256}}}}), Error);
  EXPECT_THROW(processor({{"size", {{"shortest_edge", 224}, {"longest_edge", 448}}}}), Error);
  EXPECT_THROW(processor({{"size", -1}}), Error);
  EXPECT_EQ(processor({{"do_normalize", false}}).stats, (PixelStats{{0, 0, 0}, {1, 1, 1}}));
}

TEST(PretrainedCfg, FramesByCropPctAndMode) {
  expect_framing(named({{"input_size", {3, 224, 224}}, {"crop_pct", 0.9}, {"crop_mode", "center"}}),
                 {.fit = Fit::kCrop, .resized = 248}, 224);
  expect_framing(named({{"input_size", {3, 224, 224}}, {"crop_pct", 1.0}, {"crop_mode", "squash"}}),
                 {.fit = Fit::kSquash, .resized = 224}, 224);
  expect_framing(named({{"input_size", {3, 224, 224}},
                        {"crop_mode", "border"},
                        {"crop_pct", 1.0},
                        {"mean", {0.5, 0.25, 0.1}},
                        {"std", {1, 1, 1}}}),
                 {.fit = Fit::kPad, .resized = 224, .fill = {128, 64, 26}}, 224);
  expect_framing(named({{"interpolation", "bicubic"}}, 64), {.fit = Fit::kCrop, .resized = 73}, 0);  // timm's 0.875
  EXPECT_THROW(named({{"crop_mode", "random"}}), Error);
  EXPECT_THROW(named({{"crop_pct", 0}}), Error);
}

TEST(PreprocessCfg, FramesByResizeMode) {
  const auto named = [](const Json& json) {
    return read_named_preprocessing(JsonReader(json, "config"), {.side = 64}, kOpenClipCropPct);
  };
  expect_framing(named(Json::object()), {.fit = Fit::kCrop, .resized = 64}, 0);
  expect_framing(named({{"size", {224, 224}}, {"resize_mode", "shortest"}}), {.fit = Fit::kCrop, .resized = 224}, 224);
  expect_framing(named({{"size", 224}, {"resize_mode", "squash"}}), {.fit = Fit::kSquash, .resized = 224}, 224);
  expect_framing(named({{"size", 224}, {"resize_mode", "longest"}, {"fill_color", 7}}),
                 {.fit = Fit::kPad, .resized = 224, .fill = {7, 7, 7}}, 224);
  EXPECT_THROW(named({{"resize_mode", "middle"}}), Error);
  EXPECT_THROW(named({{"size", 224}, {"resize_mode", "longest"}, {"fill_color", 300}}), Error);
}

TEST(ScaledFraming, KeepsTheShareThatIsCutOut) {
  EXPECT_EQ(scaled({.resized = 256}, 224, 448).resized, 512);
  EXPECT_EQ(scaled({.resized = 0}, 224, 448).resized, 0);
}

}  // namespace
}  // namespace lacuna
