// Operations on pixels against the reference: for given parameters, the same bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>

#include "data/view/affine.h"
#include "data/view/augment.h"
#include "data/view/blur.h"
#include "data/view/color.h"
#include "data/view/rand_augment.h"
#include "data/view/tone.h"
#include "io/files.h"
#include "support/golden_image.h"
#include "support/shared.h"

namespace lacuna {
namespace {

using nlohmann::json;
using testing::golden_image;
using testing::kernel_named;
using testing::same_pixels;
using testing::shared_folder;

double number(const json& params, const char* key) { return params.at(key).get<double>(); }

ColorJitter jitter_of(const json& params) {
  ColorJitter jitter{.brightness = number(params, "brightness"),
                     .contrast = number(params, "contrast"),
                     .saturation = number(params, "saturation")};
  std::size_t slot = 0;
  for (const int op : params.at("order")) jitter.order.at(slot++) = static_cast<ColorOp>(op);
  if (slot < 4) jitter.order[slot] = ColorOp::kHue;
  if (params.contains("hue") && !params.at("hue").is_null()) jitter.hue = number(params, "hue");
  return jitter;
}

const std::map<std::string, RandOp> kIncreasing = {{"AutoContrast", RandOp::kAutoContrast},
                                                   {"Equalize", RandOp::kEqualize},
                                                   {"Invert", RandOp::kInvert},
                                                   {"Rotate", RandOp::kRotate},
                                                   {"PosterizeIncreasing", RandOp::kPosterize},
                                                   {"SolarizeIncreasing", RandOp::kSolarize},
                                                   {"SolarizeAdd", RandOp::kSolarizeAdd},
                                                   {"ColorIncreasing", RandOp::kColor},
                                                   {"ContrastIncreasing", RandOp::kContrast},
                                                   {"BrightnessIncreasing", RandOp::kBrightness},
                                                   {"SharpnessIncreasing", RandOp::kSharpness},
                                                   {"ShearX", RandOp::kShearX},
                                                   {"ShearY", RandOp::kShearY},
                                                   {"TranslateXRel", RandOp::kTranslateX},
                                                   {"TranslateYRel", RandOp::kTranslateY}};

FillColor fill_of(const json& params) {
  if (params.at("fill").is_null()) return kImageNetFill;
  const json& fill = params.at("fill");
  return {fill.at(0).get<std::uint8_t>(), fill.at(1).get<std::uint8_t>(), fill.at(2).get<std::uint8_t>()};
}

Kernel kernel_of(const json& params) {
  return params.at("kernel").is_null() ? Kernel::kBicubic : kernel_named(params.at("kernel"));
}

// Operations that timm has besides those of its increasing set.
Image apply_other(Image image, const json& params) {
  const std::string name = params.at("name");
  const double argument = params.at("arguments").at(0);
  const Kernel kernel = kernel_of(params);
  if (name == "Posterize")
    posterize(image, static_cast<int>(argument));
  else if (name == "Solarize")
    solarize(image, static_cast<int>(argument));
  else if (name == "Color")
    adjust_saturation(image, argument);
  else if (name == "Contrast")
    adjust_contrast(image, argument);
  else if (name == "Brightness")
    adjust_brightness(image, argument);
  else if (name == "Sharpness")
    adjust_sharpness(image, argument);
  else if (name == "TranslateX")
    return transformed(image, shift(argument, 0), kernel, fill_of(params));
  else if (name == "TranslateY")
    return transformed(image, shift(0, argument), kernel, fill_of(params));
  else if (name == "Desaturate")
    adjust_saturation(image, 1.0 - argument);
  else if (name == "GaussianBlur")
    gaussian_blur(image, argument);
  else
    throw std::runtime_error("no operation " + name);
  return image;
}

// The argument comes from our own mapping of the level, which must give the reference's.
Image apply_rand(Image image, const json& params) {
  const auto op = kIncreasing.find(params.at("name"));
  if (op == kIncreasing.end()) return apply_other(std::move(image), params);
  const bool negative = !params.at("sign").is_null() && params.at("sign") == -1;
  RandStep step{op->second, argument_of(op->second, params.at("level"), negative), kernel_of(params)};
  if (!params.at("arguments").empty()) {
    EXPECT_DOUBLE_EQ(step.argument, params.at("arguments").at(0).get<double>()) << params;
  }
  return rand_augment(std::move(image), {step}, fill_of(params));
}

Image apply_sequence(Image image, const json& params) {
  std::vector<RandStep> steps;
  for (const json& applied : params.at("applied")) {
    const double argument = applied.at(1).empty() ? 0.0 : applied.at(1).at(0).get<double>();
    steps.push_back({kIncreasing.at(applied.at(0)), argument, kernel_of(params)});
  }
  return rand_augment(std::move(image), steps, fill_of(params));
}

Image apply_three(Image image, const json& params) {
  const std::string choice = params.at("choice");
  ThreeAugment draw{.jitter = jitter_of(params)};
  draw.op = choice == "grayscale" ? ThreeOp::kGrayscale : choice == "blur" ? ThreeOp::kBlur : ThreeOp::kSolarize;
  if (!params.at("radius").is_null()) draw.sigma = number(params, "radius");
  if (params.at("flip")) flip_horizontal(image);
  three_augment(image, draw);
  return image;
}

using Operation = std::function<Image(Image, const json&)>;

template <class Change>
Operation in_place(Change change) {
  return [change](Image image, const json& params) {
    change(image, params);
    return image;
  };
}

const std::map<std::string, Operation> kOperations = {
    {"hflip", in_place([](Image& i, const json&) { flip_horizontal(i); })},
    {"brightness", in_place([](Image& i, const json& p) { adjust_brightness(i, number(p, "factor")); })},
    {"contrast", in_place([](Image& i, const json& p) { adjust_contrast(i, number(p, "factor")); })},
    {"saturation", in_place([](Image& i, const json& p) { adjust_saturation(i, number(p, "factor")); })},
    {"sharpness", in_place([](Image& i, const json& p) { adjust_sharpness(i, number(p, "factor")); })},
    {"hue", in_place([](Image& i, const json& p) { adjust_hue(i, number(p, "factor")); })},
    {"grayscale", in_place([](Image& i, const json&) { to_grayscale(i); })},
    {"color_jitter", in_place([](Image& i, const json& p) { color_jitter(i, jitter_of(p)); })},
    {"solarize", in_place([](Image& i, const json& p) { solarize(i, p.at("threshold")); })},
    {"solarize_add", in_place([](Image& i, const json& p) { solarize_add(i, p.at("add"), p.at("threshold")); })},
    {"autocontrast", in_place([](Image& i, const json&) { auto_contrast(i); })},
    {"equalize", in_place([](Image& i, const json&) { equalize(i); })},
    {"invert", in_place([](Image& i, const json&) { invert(i); })},
    {"posterize", in_place([](Image& i, const json& p) { posterize(i, p.at("bits")); })},
    {"gaussian_blur_pil", in_place([](Image& i, const json& p) { gaussian_blur(i, number(p, "radius")); })},
    {"vflip", in_place([](Image& i, const json&) { flip_vertical(i); })},
    {"pad4_crop",
     [](Image image, const json& p) {
       const Padding padding = p.at("padding_mode") == "reflect" ? Padding::kReflect : Padding::kBlack;
       return padded_crop(image, 4, padding, p.at("left"), p.at("top"));
     }},
    {"randaugment", apply_rand},
    {"randaugment_sequence", apply_sequence},
    {"three_augment", apply_three}};

TEST(Operations, EqualTheReferenceToTheByte) {
  LACUNA_NEEDS_SHARED("golden/preprocess/augment.json");
  const TensorFile tensors(shared_folder() / "golden/preprocess/augment.safetensors");
  const json table = read_json(shared_folder() / "golden/preprocess/augment.json");
  std::map<std::string, int> compared;
  for (const json& row : table.at("cases")) {
    const std::string name = row.at("op");
    if (name == "gaussian_blur_torchvision") continue;  // a test of its own
    ASSERT_TRUE(kOperations.contains(name)) << name;
    const Image found = kOperations.at(name)(golden_image(tensors, row.at("input")), row.at("params"));
    EXPECT_TRUE(same_pixels(found, golden_image(tensors, row.at("output")))) << row.at("output") << row.at("params");
    ++compared[name];
  }
  for (const auto& [name, count] : compared) RecordProperty(name, count);
  EXPECT_EQ(compared.size(), kOperations.size());
  EXPECT_EQ(compared["randaugment"], 295);
  EXPECT_EQ(compared["randaugment_sequence"], 40);
  EXPECT_EQ(compared["color_jitter"], 30);
}

TEST(SampledGaussianBlur, EqualsTorchvisionButForTies) {
  LACUNA_NEEDS_SHARED("golden/preprocess/augment.json");
  const TensorFile tensors(shared_folder() / "golden/preprocess/augment.safetensors");
  const json table = read_json(shared_folder() / "golden/preprocess/augment.json");
  int compared = 0;
  for (const json& row : table.at("cases")) {
    if (row.at("op") != "gaussian_blur_torchvision") continue;
    Image image = golden_image(tensors, row.at("input"));
    sampled_gaussian_blur(image, row.at("params").at("kernel_size"), number(row.at("params"), "sigma"));
    const Image expected = golden_image(tensors, row.at("output"));
    ASSERT_EQ(image.pixels.size(), expected.pixels.size());
    int pixels_off = 0;
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
      int worst = 0;
      for (std::size_t c = i; c < i + 3; ++c) worst = std::max(worst, std::abs(image.pixels[c] - expected.pixels[c]));
      ASSERT_LE(worst, 1) << row.at("output");
      pixels_off += worst;
    }
    EXPECT_LE(pixels_off * 1000, image.width * image.height) << row.at("output");
    ++compared;
  }
  EXPECT_EQ(compared, 9);
}

Image textured(int width, int height) {
  Image image(width, height);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i * i * 7 % 253);
  return image;
}

TEST(Operations, HoldOnTheSmallestImages) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 5}, {5, 1}, {2, 2}, {3, 3}}) {
    Image image = textured(width, height);
    gaussian_blur(image, 2.0);
    gaussian_blur(image, 40.0);
    sampled_gaussian_blur(image, 23, 2.0);
    adjust_sharpness(image, 1.9);
    equalize(image);
    auto_contrast(image);
    image = rotated(image, -29.0, Kernel::kBicubic, kImageNetFill);
    image = transformed(image, shear_x(0.3), Kernel::kBilinear, kImageNetFill);
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
  }
}

TEST(GaussianBlur, KeepsAFlatImageAndTheMeanOfAnother) {
  Image flat(20, 14);
  std::fill(flat.pixels.begin(), flat.pixels.end(), std::uint8_t{77});
  const Image before = flat;
  gaussian_blur(flat, 1.7);
  EXPECT_TRUE(same_pixels(flat, before));
  Image point(21, 21);
  point.row(10)[30] = 255;
  gaussian_blur(point, 1.5);
  int sum = 0;
  for (int y = 0; y < 21; ++y) {
    for (int x = 0; x < 21; ++x) sum += point.row(y)[3 * x];
  }
  EXPECT_NEAR(sum, 255, 12);  // rounding of up to half a level in some 50 pixels
  EXPECT_EQ(point.row(10)[3 * 9], point.row(10)[3 * 11]);
  EXPECT_EQ(point.row(9)[30], point.row(11)[30]);
}

TEST(AdjustHue, KeepsGraysAndTheBrightestChannelOfAll) {
  Image image = textured(9, 9);
  for (std::size_t i = 0; i < 30; ++i) image.pixels[i] = static_cast<std::uint8_t>(i / 3 * 20);
  Image turned = image;
  adjust_hue(turned, 0.3);
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    EXPECT_EQ(*std::max_element(&turned.pixels[i], &turned.pixels[i] + 3),
              *std::max_element(&image.pixels[i], &image.pixels[i] + 3));
  }
  EXPECT_TRUE(std::equal(image.pixels.begin(), image.pixels.begin() + 30, turned.pixels.begin()));
  EXPECT_NE(turned.pixels, image.pixels);
}

}  // namespace
}  // namespace lacuna
