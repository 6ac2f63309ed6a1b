#include "data/source/shapes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/source/shapes_draw.h"

namespace lacuna {
namespace {

constexpr ShapesConfig kConfig{.size = 5000, .seed = 7, .side = 48};

std::string caption_of(const Scene& scene, std::uint64_t stream) {
  Rng rng(0, Purpose::kCaption, 0, stream);
  return describe_in_words(scene, rng);
}

bool has_word(const std::string& caption, const std::string& word) {
  std::string spaced = " " + caption + " ";
  std::ranges::replace(spaced, ',', ' ');
  return spaced.find(" " + word + " ") != std::string::npos;
}

template <class Name, class Enum>
const Name& named(const std::vector<Name>& names, Enum value) {
  return names.at(static_cast<std::size_t>(value));
}

// A scene of one object of the given shape on a plain backdrop in even light, without noise.
Scene studio(Shape shape, Color paint) {
  Scene scene;
  SceneObject object;
  object.shape = shape;
  object.paint = object.accent = paint;
  scene.objects = {object};
  scene.backdrop.paint = scene.backdrop.accent = {0, 0, 0};
  return scene;
}

// The image averaged over squares of `factor` pixels.
Image shrink(const Image& image, int factor) {
  Image small(image.width / factor, image.height / factor);
  for (int y = 0; y < small.height; ++y) {
    for (int x = 0; x < small.width * 3; ++x) {
      int sum = 0;
      for (int i = 0; i < factor * factor; ++i) {
        sum += image.row(y * factor + i / factor)[(x / 3 * factor + i % factor) * 3 + x % 3];
      }
      small.row(y)[x] = static_cast<std::uint8_t>(sum / (factor * factor));
    }
  }
  return small;
}

double mean_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

TEST(Shapes, ASceneIsAFunctionOfSeedAndIndex) {
  const auto one = make_shapes_source(kConfig), same = make_shapes_source(kConfig);
  ShapesConfig reseeded = kConfig;
  reseeded.seed = 8;
  const auto other = make_shapes_source(reseeded);
  for (const std::int64_t i : {0, 1, 17, 4999}) {
    const Image image = one->image(i);
    EXPECT_EQ(image.pixels, same->image(i).pixels);
    EXPECT_NE(image.pixels, other->image(i).pixels);
    EXPECT_NE(image.pixels, one->image((i + 1) % kConfig.size).pixels);
    EXPECT_EQ(caption_of(describe_scene(kConfig, i), 3), caption_of(describe_scene(kConfig, i), 3));
  }
}

TEST(Shapes, SizeAndSideOfTheSetChangeNoFact) {
  ShapesConfig larger = kConfig;
  larger.side = 96;
  larger.size = 100000;
  for (std::int64_t i = 0; i < 50; ++i) {
    const Scene a = describe_scene(kConfig, i), b = describe_scene(larger, i);
    EXPECT_EQ(caption_of(a, 1), caption_of(b, 1));
    EXPECT_EQ(a.noise_seed, b.noise_seed);
    EXPECT_EQ(draw_scene(a, 32).pixels, draw_scene(b, 32).pixels);
  }
}

TEST(Shapes, TheSideOnlyChoosesTheSampling) {
  double across = 0, between = 0;
  constexpr int kScenes = 40;
  for (std::int64_t i = 0; i < kScenes; ++i) {
    const Image small = draw_scene(describe_scene(kConfig, i), 48);
    across += mean_difference(small, shrink(draw_scene(describe_scene(kConfig, i), 192), 4)) / kScenes;
    between += mean_difference(small, draw_scene(describe_scene(kConfig, i + 1), 48)) / kScenes;
  }
  EXPECT_LT(across, 6);  // what blur alone does to edges and grain, in steps of 255
  EXPECT_GT(between, 40);
}

TEST(Shapes, ClassesAreNearlyUniformAndIndependentOfColor) {
  const auto source = make_shapes_source(kConfig);
  std::array<int, 10> classes{};
  std::vector<int> colors(color_names().size());
  int red_circles = 0;
  for (std::int64_t i = 0; i < kConfig.size; ++i) {
    const SceneObject main = describe_scene(kConfig, i).main();
    ASSERT_EQ(source->label(i), static_cast<std::int64_t>(main.shape));
    ++classes.at(static_cast<std::size_t>(source->label(i)));
    ++colors.at(static_cast<std::size_t>(main.color));
    red_circles += main.shape == Shape::kCircle && main.color == 0;
  }
  for (const int count : classes) EXPECT_NEAR(count, 500, 106);  // five standard deviations
  for (const int count : colors) EXPECT_NEAR(count, 417, 98);
  EXPECT_NEAR(red_circles, 42, 32);
}

TEST(Shapes, TheLabelMayBeAnotherFactOfTheSameScenes) {
  ShapesConfig by_color = kConfig, by_texture = kConfig;
  by_color.label = SceneLabel::kColor;
  by_texture.label = SceneLabel::kTexture;
  const auto shape = make_shapes_source(kConfig), color = make_shapes_source(by_color),
             texture = make_shapes_source(by_texture);
  EXPECT_EQ(shape->classes(), shape_names());
  EXPECT_EQ(color->classes(), color_names());
  EXPECT_EQ(texture->classes(), texture_names());
  for (std::int64_t i = 0; i < 100; ++i) {
    const SceneObject main = describe_scene(kConfig, i).main();
    EXPECT_EQ(color->label(i), main.color);
    EXPECT_EQ(texture->label(i), static_cast<std::int64_t>(main.texture));
  }
  EXPECT_EQ(shape->image(5).pixels, color->image(5).pixels);
}

TEST(Shapes, CaptionsNameOnlyTrueFactsAndMostlyAllOfTheMainObject) {
  constexpr int kScenes = 1000;
  int sizes = 0, colors = 0, textures = 0;
  for (std::int64_t i = 0; i < kScenes; ++i) {
    const Scene scene = describe_scene(kConfig, i);
    const SceneObject& main = scene.main();
    const std::string caption = caption_of(scene, static_cast<std::uint64_t>(i));
    ASSERT_TRUE(has_word(caption, named(shape_names(), main.shape))) << caption;
    for (std::size_t shape = 0; shape < shape_names().size(); ++shape) {
      const bool there = std::ranges::any_of(
          scene.objects, [&](const SceneObject& object) { return static_cast<std::size_t>(object.shape) == shape; });
      EXPECT_TRUE(there || !has_word(caption, shape_names()[shape])) << caption;
    }
    for (std::size_t color = 0; color < color_names().size(); ++color) {
      const bool there = static_cast<std::size_t>(scene.backdrop.color) == color ||
                         std::ranges::any_of(scene.objects, [&](const SceneObject& object) {
                           return static_cast<std::size_t>(object.color) == color;
                         });
      EXPECT_TRUE(there || !has_word(caption, color_names()[color])) << caption;
    }
    static const std::vector<std::vector<std::string>> kSizes{
        {"small", "little"}, {"medium", "medium-sized"}, {"large", "big"}};
    sizes += std::ranges::any_of(named(kSizes, size_class(main)),
                                 [&](const std::string& word) { return has_word(caption, word); });
    colors += has_word(caption, named(color_names(), main.color));
    textures += has_word(caption, named(texture_names(), main.texture));
  }
  EXPECT_GT(sizes, kScenes * 7 / 10);
  EXPECT_GT(colors, kScenes * 7 / 10);
  EXPECT_GT(textures, kScenes * 7 / 10);
}

TEST(Shapes, CaptionsPlaceTheMainObjectWhereItIs) {
  const std::vector<std::string> places{"top left", "top right", "bottom left", "bottom right", "top",
                                        "bottom",   "left",      "right",       "middle"};
  int placed = 0;
  for (std::int64_t i = 0; i < 1000; ++i) {
    const Scene scene = describe_scene(kConfig, i);
    const std::string caption = caption_of(scene, 5);
    const auto said = std::ranges::find_if(places, [&](const std::string& place) { return has_word(caption, place); });
    if (said == places.end()) continue;
    ++placed;
    EXPECT_EQ(*said, position_name(scene.main())) << caption;
  }
  EXPECT_GT(placed, 200);
}

TEST(Shapes, WordingVariesWithTheRng) {
  const Scene scene = describe_scene(kConfig, 0);
  std::vector<std::string> captions;
  for (std::uint64_t i = 0; i < 50; ++i) captions.push_back(caption_of(scene, i));
  std::ranges::sort(captions);
  EXPECT_GT(std::unique(captions.begin(), captions.end()) - captions.begin(), 20);
}

TEST(Shapes, PositionsAreNamedByThirds) {
  SceneObject object;
  const auto at = [&](double x, double y) {
    object.x = x;
    object.y = y;
    return position_name(object);
  };
  EXPECT_EQ(at(0.5, 0.5), "middle");
  EXPECT_EQ(at(0.3, 0.3), "top left");
  EXPECT_EQ(at(0.7, 0.3), "top right");
  EXPECT_EQ(at(0.5, 0.7), "bottom");
  EXPECT_EQ(at(0.3, 0.5), "left");
}

TEST(Shapes, ObjectsLieInsideThePictureAndApart) {
  for (std::int64_t i = 0; i < 500; ++i) {
    const Scene scene = describe_scene(kConfig, i);
    ASSERT_GE(scene.objects.size(), 1u);
    ASSERT_LE(scene.objects.size(), 3u);
    for (std::size_t a = 0; a < scene.objects.size(); ++a) {
      const SceneObject& object = scene.objects[a];
      EXPECT_GE(std::min(object.x, object.y) - object.size / 2, -1e-9);
      EXPECT_LE(std::max(object.x, object.y) + object.size / 2, 1 + 1e-9);
      for (std::size_t b = 0; b < a; ++b) {
        const SceneObject& other = scene.objects[b];
        EXPECT_GE(std::hypot(object.x - other.x, object.y - other.y), (object.size + other.size) / 2);
      }
      if (a > 0) {
        EXPECT_LT(object.size, scene.main().size / 1.5);
      }
    }
  }
}

TEST(Shapes, TheMaskCoversAPlausibleAreaOfTheMainObject) {
  constexpr int kSide = 64;
  for (std::int64_t i = 0; i < 300; ++i) {
    const Scene scene = describe_scene(kConfig, i);
    const auto mask = scene_mask(scene, kSide);
    ASSERT_EQ(mask.size(), static_cast<std::size_t>(kSide * kSide));
    Scene alone = scene;
    alone.objects.resize(1);
    const auto value = static_cast<std::uint8_t>(1 + static_cast<int>(scene.main().shape));
    const auto main_mask = scene_mask(alone, kSide);
    const double area = static_cast<double>(std::ranges::count(main_mask, value)) / (kSide * kSide);
    const double disc = scene.main().size * scene.main().size * 0.7854;
    EXPECT_GT(area, 0.28 * disc) << caption_of(scene, 0);
    EXPECT_LT(area, 0.95 * disc) << caption_of(scene, 0);
    for (std::size_t p = 0; p < mask.size(); ++p) {
      if (main_mask[p] != 0) {
        ASSERT_EQ(mask[p], value) << "the main object is on top";
      }
    }
  }
}

TEST(Shapes, TheMaskAgreesWithTheDrawingOfEveryShape) {
  constexpr int kSide = 80;
  for (std::size_t s = 0; s < shape_names().size(); ++s) {
    const Scene scene = studio(static_cast<Shape>(s), {1, 0, 1});
    const Image image = draw_scene(scene, kSide);
    const auto mask = scene_mask(scene, kSide);
    for (int p = 0; p < kSide * kSide; ++p) {
      const bool inside = mask[static_cast<std::size_t>(p)] != 0;
      const int red = image.pixels[static_cast<std::size_t>(p) * 3];
      ASSERT_EQ(red >= 128, inside) << shape_names()[s] << " at " << p % kSide << ", " << p / kSide << ": " << red;
    }
  }
}

TEST(Shapes, ASolidMainObjectShowsItsColor) {
  constexpr int kSide = 64;
  int seen = 0;
  for (std::int64_t i = 0; i < 600; ++i) {
    const Scene scene = describe_scene(kConfig, i);
    const SceneObject& main = scene.main();
    if (main.texture != Texture::kSolid || main.outline > 0) continue;
    ++seen;
    Scene alone = scene;
    alone.objects.resize(1);
    const auto mask = scene_mask(alone, kSide);
    const Image image = draw_scene(scene, kSide);
    std::array<double, 3> mean{};
    double count = 0;
    for (std::size_t p = 0; p < mask.size(); ++p) {
      if (mask[p] == 0) continue;
      ++count;
      for (std::size_t c = 0; c < 3; ++c) mean[c] += image.pixels[p * 3 + c] / 255.0;
    }
    const std::array<float, 3> paint{main.paint.r, main.paint.g, main.paint.b};
    const std::array<float, 3> tint{scene.light.tint.r, scene.light.tint.g, scene.light.tint.b};
    for (std::size_t c = 0; c < 3; ++c) {
      const double lit = std::min(1.0, static_cast<double>(paint[c] * tint[c]));
      EXPECT_NEAR(mean[c] / count, lit, 0.2) << caption_of(scene, 0);  // uneven light and half-covered edges
    }
  }
  EXPECT_GT(seen, 40);
}

TEST(Shapes, TheFingerprintNamesTheSet) {
  const auto fingerprint = [](std::int64_t size, std::uint64_t seed, int side) {
    return make_shapes_source({.size = size, .seed = seed, .side = side})->fingerprint();
  };
  EXPECT_EQ(fingerprint(10, 1, 64), fingerprint(10, 1, 64));
  EXPECT_NE(fingerprint(10, 1, 64), fingerprint(11, 1, 64));
  EXPECT_NE(fingerprint(10, 1, 64), fingerprint(10, 2, 64));
  EXPECT_NE(fingerprint(10, 1, 64), fingerprint(10, 1, 48));
}

TEST(Shapes, RefusesImpossibleSets) {
  EXPECT_THROW(make_shapes_source({.size = 0}), Error);
  EXPECT_THROW(make_shapes_source({.side = 7}), Error);
  EXPECT_THROW(make_shapes_source({.side = 5000}), Error);
  EXPECT_THROW(make_shapes_source(kConfig)->image(kConfig.size), std::logic_error);
}

}  // namespace
}  // namespace lacuna
