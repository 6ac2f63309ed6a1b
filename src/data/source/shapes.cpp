#include "data/source/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string_view>

#include "base/error.h"
#include "data/source/shapes_draw.h"

namespace lacuna {
namespace {

constexpr int kDrawingVersion = 1;  // raise when the same (seed, index) gives other pixels or facts
constexpr double kSmallest = 0.44, kLargest = 0.80;
constexpr double kSmallBelow = 0.55, kLargeFrom = 0.68;
constexpr double kTilt = 0.35;  // largest rotation of an object, radians: shapes keep their upright look
constexpr double kFirstThird = 0.43, kLastThird = 0.57;  // centres of large objects cannot come near the edges
constexpr double kTurn = 2 * std::numbers::pi;

struct NamedColor {
  std::string_view name;
  double hue;  // degrees
  double saturation, value;
  double hue_jitter, saturation_jitter, value_jitter;
};

constexpr std::array<NamedColor, 12> kColors{{
    {"red", 358, 0.88, 0.85, 6, 0.10, 0.10},
    {"orange", 27, 0.95, 0.95, 5, 0.05, 0.05},
    {"yellow", 54, 0.88, 0.95, 5, 0.10, 0.05},
    {"green", 125, 0.75, 0.62, 18, 0.15, 0.14},
    {"cyan", 183, 0.75, 0.85, 7, 0.15, 0.10},
    {"blue", 222, 0.82, 0.80, 10, 0.12, 0.14},
    {"purple", 277, 0.65, 0.62, 9, 0.12, 0.12},
    {"pink", 333, 0.45, 0.97, 8, 0.08, 0.03},
    {"brown", 24, 0.68, 0.40, 6, 0.08, 0.06},
    {"white", 0, 0.02, 0.96, 180, 0.02, 0.04},
    {"gray", 0, 0.03, 0.52, 180, 0.03, 0.10},
    {"black", 0, 0.05, 0.09, 180, 0.05, 0.06},
}};

template <class Enum>
Enum any(Rng& rng, Enum last) {
  return static_cast<Enum>(rng.integer(0, static_cast<std::int64_t>(last)));
}

int any_color(Rng& rng) { return static_cast<int>(rng.integer(0, static_cast<std::int64_t>(kColors.size()) - 1)); }

double jitter(Rng& rng, double center, double spread) { return rng.uniform(center - spread, center + spread); }

// HSV to RGB by the piecewise-linear form: channel = v - v s max(0, min(k, 4 - k, 1)), k = (n + h / 60) mod 6.
Color from_hsv(double hue, double saturation, double value) {
  const auto channel = [&](double n) {
    const double k = std::fmod(n + hue / 60 + 6, 6.0);
    return static_cast<float>(value - value * saturation * std::max(0.0, std::min({k, 4 - k, 1.0})));
  };
  return {channel(5), channel(3), channel(1)};
}

// One tone of a named colour; `strength` below 1 fades its saturation.
Color tone(int color, Rng& rng, double strength = 1) {
  const NamedColor& named = kColors[static_cast<std::size_t>(color)];
  const double hue = jitter(rng, named.hue, named.hue_jitter);
  const double saturation = std::clamp(jitter(rng, named.saturation, named.saturation_jitter) * strength, 0.0, 1.0);
  return from_hsv(hue, saturation, std::clamp(jitter(rng, named.value, named.value_jitter), 0.0, 1.0));
}

Color blend(Color a, Color b, double weight) {
  const auto w = static_cast<float>(weight);
  return {a.r + (b.r - a.r) * w, a.g + (b.g - a.g) * w, a.b + (b.b - a.b) * w};
}

double brightness(Color c) { return 0.299 * c.r + 0.587 * c.g + 0.114 * c.b; }

double contrast(Color a, Color b) {
  const double r = a.r - b.r, g = a.g - b.g, bl = a.b - b.b;
  return std::sqrt((r * r + g * g + bl * bl) / 3);
}

// A lighter or a darker relative of `paint`, far enough from it to show a pattern.
Color accent_of(Color paint, Rng& rng) {
  const double light = brightness(paint);
  const bool lighter = light < 0.3 || (light < 0.65 && rng.chance(0.5));
  return lighter ? blend(paint, {1, 1, 1}, rng.uniform(0.6, 0.85)) : blend(paint, {0, 0, 0}, rng.uniform(0.5, 0.75));
}

SceneObject random_object(Rng& rng, double smallest, double largest) {
  SceneObject object;
  object.shape = any(rng, Shape::kArrow);
  object.color = any_color(rng);
  object.texture = any(rng, Texture::kShaded);
  object.size = rng.uniform(smallest, largest);
  object.rotation = rng.uniform(-kTilt, kTilt);
  object.paint = tone(object.color, rng);
  object.accent = accent_of(object.paint, rng);
  object.texture_angle = rng.uniform(0, kTurn);
  object.texture_pitch = rng.uniform(0.34, 0.6);
  if (rng.chance(0.3)) {
    object.outline = rng.uniform(0.05, 0.11);
    object.outline_paint = rng.chance(0.5) ? Color{0.05f, 0.05f, 0.05f} : Color{0.97f, 0.97f, 0.97f};
  }
  return object;
}

void place(SceneObject& object, Rng& rng) {
  const double margin = object.size / 2;
  object.x = rng.uniform(margin, 1 - margin);
  object.y = rng.uniform(margin, 1 - margin);
}

bool touches(const SceneObject& a, const SceneObject& b) {
  return std::hypot(a.x - b.x, a.y - b.y) < (a.size + b.size) / 2;
}

// Up to two distractors beside the objects already there. One that finds no room is left out.
void add_distractors(std::vector<SceneObject>& objects, Rng& rng) {
  constexpr int kTries = 16;
  const std::int64_t wanted = rng.integer(0, 2);
  for (std::int64_t i = 0; i < wanted; ++i) {
    SceneObject object = random_object(rng, 0.13, 0.22);
    for (int attempt = 0; attempt < kTries; ++attempt) {
      place(object, rng);
      if (std::ranges::any_of(objects, [&](const SceneObject& other) { return touches(object, other); })) continue;
      objects.push_back(object);
      break;
    }
  }
}

// The two colours of a backdrop: the first pair that the main object stands out from, else the best of the tries.
void paint_backdrop(BackdropSpec& backdrop, const SceneObject& main, Rng& rng) {
  constexpr int kTries = 12;
  constexpr double kEnough = 0.27;
  double best = -1;
  for (int attempt = 0; attempt < kTries && best < kEnough; ++attempt) {
    const int color = any_color(rng);
    const Color paint = tone(color, rng, rng.uniform(0.5, 1.0));
    const Color other = rng.chance(0.5) ? tone(any_color(rng), rng, 0.6) : accent_of(paint, rng);
    const Color accent = blend(paint, other, rng.uniform(0.3, 0.7));
    double found = std::min(contrast(paint, main.paint), contrast(accent, main.paint));
    if (main.texture != Texture::kSolid) found = std::min(found, 1.5 * contrast(paint, main.accent));
    if (found <= best) continue;
    best = found;
    backdrop.color = color;
    backdrop.paint = paint;
    backdrop.accent = accent;
  }
}

BackdropSpec random_backdrop(const SceneObject& main, Rng& rng) {
  BackdropSpec backdrop;
  backdrop.kind = any(rng, Backdrop::kSpotted);
  paint_backdrop(backdrop, main, rng);
  backdrop.angle = rng.uniform(0, kTurn);
  backdrop.pitch = std::exp(rng.uniform(std::log(0.1), std::log(0.4)));
  backdrop.clouds = backdrop.kind == Backdrop::kCloudy ? rng.uniform(1.6, 2.4) : rng.uniform(0.1, 0.7);
  backdrop.grain = backdrop.kind == Backdrop::kNoisy ? rng.uniform(1.2, 2.0) : rng.uniform(0.05, 0.35);
  backdrop.grain_cells = static_cast<int>(rng.integer(14, 40));
  return backdrop;
}

std::vector<Stroke> random_strokes(Rng& rng) {
  std::vector<Stroke> strokes(static_cast<std::size_t>(rng.integer(0, 9)));
  for (Stroke& stroke : strokes) {
    const bool line = rng.chance(0.25);  // otherwise a fragment
    const double length = line ? rng.uniform(0.3, 1.0) : rng.uniform(0.01, 0.12);
    const double angle = rng.uniform(0, kTurn);
    stroke.x0 = rng.uniform();
    stroke.y0 = rng.uniform();
    stroke.x1 = stroke.x0 + length * std::cos(angle);
    stroke.y1 = stroke.y0 + length * std::sin(angle);
    stroke.width = line ? rng.uniform(0.008, 0.025) : rng.uniform(0.015, 0.06);
    stroke.paint = tone(any_color(rng), rng, 0.8);
  }
  return strokes;
}

Light random_light(Rng& rng) {
  Light light;
  light.angle = rng.uniform(0, kTurn);
  light.tilt = rng.uniform(0, 0.3);
  const double level = rng.uniform(0.75, 1.1);
  const auto channel = [&] { return static_cast<float>(level * rng.uniform(0.92, 1.08)); };
  light.tint.r = channel();
  light.tint.g = channel();
  light.tint.b = channel();
  light.noise = rng.uniform(0, 0.09);
  return light;
}

int third(double center) { return center < kFirstThird ? 0 : center < kLastThird ? 1 : 2; }

using Words = std::vector<std::string>;

const std::string& pick(const Words& words, Rng& rng) {
  return words[static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(words.size()) - 1))];
}

template <class Enum>
const std::string& name_of(const Words& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

std::string with_article(const std::string& noun_phrase) {
  const bool vowel = std::string_view("aeiou").find(noun_phrase.front()) != std::string_view::npos;
  return (vowel ? "an " : "a ") + noun_phrase;
}

std::string size_word(const SceneObject& object, Rng& rng) {
  switch (size_class(object)) {
    case SizeClass::kSmall:
      return pick({"small", "little"}, rng);
    case SizeClass::kMedium:
      return pick({"medium", "medium-sized"}, rng);
    case SizeClass::kLarge:
      return pick({"large", "big"}, rng);
  }
  return {};
}

std::string place_phrase(const SceneObject& object, Rng& rng) {
  const std::string place = position_name(object);
  if (place == "middle") return pick({"in the middle", "right in the middle", "in the middle of the picture"}, rng);
  if (place.find(' ') != std::string::npos) {
    return pick({"at the " + place, "in the " + place, "in the " + place + " corner"}, rng);
  }
  if (place == "left" || place == "right") return pick({"on the " + place, "on the " + place + " side"}, rng);
  return pick({"at the " + place, "near the " + place}, rng);
}

// The shape is always named; each other property only now and then, as people do. A caption with fewer words leaves an
// image-text model nothing but the shape to go by.
std::string main_phrase(const SceneObject& object, Rng& rng) {
  constexpr double kNamed = 0.8;
  Words words;
  if (rng.chance(kNamed)) words.push_back(size_word(object, rng));
  if (rng.chance(kNamed)) words.push_back(name_of(color_names(), object.color));
  if (rng.chance(kNamed)) words.push_back(name_of(texture_names(), object.texture));
  std::string phrase;
  for (const std::string& word : words) phrase += word + " ";
  return with_article(phrase + name_of(shape_names(), object.shape));
}

std::string distractor_phrase(const Scene& scene, Rng& rng) {
  std::string phrase;
  for (std::size_t i = 1; i < scene.objects.size(); ++i) {
    const SceneObject& object = scene.objects[i];
    phrase += i == 1 ? "" : " and ";
    phrase += with_article(size_word(object, rng) + " " + name_of(color_names(), object.color) + " " +
                           name_of(shape_names(), object.shape));
  }
  return phrase;
}

std::string backdrop_phrase(const BackdropSpec& backdrop, Rng& rng) {
  const std::string words = name_of(backdrop_names(), backdrop.kind) + " " + name_of(color_names(), backdrop.color);
  return with_article(words + pick({" background", " backdrop"}, rng));
}

class ShapesSource final : public Source {
 public:
  explicit ShapesSource(const ShapesConfig& config) : config_(config) {}

  std::int64_t size() const override { return config_.size; }
  std::string name(std::int64_t index) const override { return text("shapes:", index); }
  Image image(std::int64_t index) const override { return draw_scene(scene(index), config_.side); }
  std::int64_t label(std::int64_t index) const override {
    const Scene facts = scene(index);
    switch (config_.label) {
      case SceneLabel::kShape:
        return static_cast<std::int64_t>(facts.main().shape);
      case SceneLabel::kColor:
        return facts.main().color;
      case SceneLabel::kTexture:
        return static_cast<std::int64_t>(facts.main().texture);
    }
    return kNoLabel;
  }
  std::string caption(std::int64_t index, Rng& rng) const override { return describe_in_words(scene(index), rng); }
  const std::vector<std::string>& classes() const override {
    return config_.label == SceneLabel::kShape   ? shape_names()
           : config_.label == SceneLabel::kColor ? color_names()
                                                 : texture_names();
  }
  std::uint64_t fingerprint() const override {
    return hash_name(text("shapes version ", kDrawingVersion, " seed ", config_.seed, " size ", config_.size, " side ",
                          config_.side));  // the label changes no image
  }

 private:
  Scene scene(std::int64_t index) const {
    invariant(index >= 0 && index < config_.size, "shapes: index ", index, " of ", config_.size, " scenes");
    return describe_scene(config_, index);
  }

  ShapesConfig config_;
};

}  // namespace

const std::vector<std::string>& shape_names() {
  static const Words kNames{"circle", "square", "triangle", "star",    "cross",
                            "ring",   "heart",  "crescent", "hexagon", "arrow"};
  return kNames;
}

const std::vector<std::string>& color_names() {
  static const Words kNames = [] {
    Words names;
    for (const NamedColor& color : kColors) names.emplace_back(color.name);
    return names;
  }();
  return kNames;
}

const std::vector<std::string>& texture_names() {
  static const Words kNames{"solid", "striped", "dotted", "checkered", "shaded"};
  return kNames;
}

const std::vector<std::string>& backdrop_names() {
  static const Words kNames{"plain", "cloudy", "noisy", "striped", "checkered", "spotted"};
  return kNames;
}

const std::vector<std::string>& size_names() {
  static const Words kNames{"small", "medium", "large"};
  return kNames;
}

SizeClass size_class(const SceneObject& object) {
  if (object.size < kSmallBelow) return SizeClass::kSmall;
  return object.size < kLargeFrom ? SizeClass::kMedium : SizeClass::kLarge;
}

std::string position_name(const SceneObject& object) {
  static constexpr std::array<std::string_view, 9> kPlaces{
      "top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right"};
  return std::string(kPlaces[static_cast<std::size_t>(3 * third(object.y) + third(object.x))]);
}

Scene describe_scene(const ShapesConfig& config, std::int64_t index) {
  invariant(index >= 0, "describe_scene: index ", index);
  Rng rng(config.seed, Purpose::kScene, 0, static_cast<std::uint64_t>(index));
  Scene scene;
  scene.noise_seed = rng.bits64();
  scene.objects.push_back(random_object(rng, kSmallest, kLargest));
  place(scene.objects.front(), rng);
  scene.backdrop = random_backdrop(scene.main(), rng);
  add_distractors(scene.objects, rng);
  scene.strokes = random_strokes(rng);
  scene.light = random_light(rng);
  return scene;
}

std::string describe_in_words(const Scene& scene, Rng& rng) {
  const std::string object = main_phrase(scene.main(), rng);
  const std::string place = rng.chance(0.4) ? place_phrase(scene.main(), rng) : "";
  const std::string others = rng.chance(0.3) ? distractor_phrase(scene, rng) : "";
  const std::string backdrop = rng.chance(0.3) ? backdrop_phrase(scene.backdrop, rng) : "";
  const std::string with = others.empty() ? "" : pick({" with ", ", next to ", ", together with "}, rng) + others;
  const std::string on = backdrop.empty() ? "" : pick({" on ", ", on ", " in front of "}, rng) + backdrop;
  const std::string at = place.empty() ? "" : " " + place;
  switch (rng.integer(0, 2)) {
    case 0:
      return object + at + with + on;
    case 1:
      return pick({"a picture of ", "a drawing of ", "an image of "}, rng) + object + at + with + on;
    default:
      return "there is " + object + at + on + with;
  }
}

std::unique_ptr<Source> make_shapes_source(const ShapesConfig& config) {
  constexpr int kSmallestSide = 8, kLargestSide = 4096;
  check(config.size > 0, "shapes.size: expected a positive number of scenes, found ", config.size);
  check(config.side >= kSmallestSide && config.side <= kLargestSide, "shapes.side: expected ", kSmallestSide, " to ",
        kLargestSide, " pixels, found ", config.side);
  return std::make_unique<ShapesSource>(config);
}

}  // namespace lacuna
