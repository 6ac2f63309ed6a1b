#include "data/source/shapes_draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {
namespace {

constexpr float kPi = std::numbers::pi_v<float>;

struct Point {
  float x, y;
};

// Edge of a polygon with what the distance needs precomputed.
struct Edge {
  Point start, along;
  float inverse_length2;
  float run;  // dx / dy, for the crossing test
};

using Polygon = std::vector<Edge>;

Polygon polygon(std::span<const Point> corners) {
  Polygon edges;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const Point a = corners[i];
    const Point b = corners[(i + 1) % corners.size()];
    const Point along{b.x - a.x, b.y - a.y};
    const float run = along.y == 0 ? 0 : along.x / along.y;
    edges.push_back({a, along, 1 / (along.x * along.x + along.y * along.y), run});
  }
  return edges;
}

// Corners on circles whose radii alternate between `outer` and `inner`, the first corner pointing up.
Polygon radial_polygon(int corners, float outer, float inner) {
  std::vector<Point> points;
  for (int i = 0; i < corners; ++i) {
    const float angle = 2 * kPi * static_cast<float>(i) / static_cast<float>(corners);
    const float radius = i % 2 == 0 ? outer : inner;
    points.push_back({radius * std::sin(angle), -radius * std::cos(angle)});
  }
  return polygon(points);
}

// x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, moved and scaled into the unit circle.
Polygon heart_polygon() {
  constexpr int kCorners = 32;
  std::vector<Point> points;
  for (int i = 0; i < kCorners; ++i) {
    const float t = 2 * kPi * static_cast<float>(i) / kCorners;
    const float x = 16 * std::pow(std::sin(t), 3.0f);
    const float y = 13 * std::cos(t) - 5 * std::cos(2 * t) - 2 * std::cos(3 * t) - std::cos(4 * t);
    points.push_back({x / 17, -(y + 2) / 17});
  }
  return polygon(points);
}

Polygon cross_polygon() {
  constexpr float kArm = 0.94f, kHalf = 0.3f;
  constexpr std::array<Point, 12> kCorners{{{-kHalf, -kArm},
                                            {kHalf, -kArm},
                                            {kHalf, -kHalf},
                                            {kArm, -kHalf},
                                            {kArm, kHalf},
                                            {kHalf, kHalf},
                                            {kHalf, kArm},
                                            {-kHalf, kArm},
                                            {-kHalf, kHalf},
                                            {-kArm, kHalf},
                                            {-kArm, -kHalf},
                                            {-kHalf, -kHalf}}};
  return polygon(kCorners);
}

Polygon arrow_polygon() {
  constexpr std::array<Point, 7> kCorners{
      {{0, -1}, {0.78f, -0.05f}, {0.27f, -0.05f}, {0.27f, 0.95f}, {-0.27f, 0.95f}, {-0.27f, -0.05f}, {-0.78f, -0.05f}}};
  return polygon(kCorners);
}

// The straight-edged shapes; an empty entry means that `shape_distance` has a closed form.
const std::array<Polygon, 10>& polygons() {
  static const std::array<Polygon, 10> kPolygons = [] {
    std::array<Polygon, 10> table;
    const auto at = [&](Shape shape) -> Polygon& { return table[static_cast<std::size_t>(shape)]; };
    at(Shape::kSquare) =
        polygon(std::array<Point, 4>{{{-0.72f, -0.72f}, {0.72f, -0.72f}, {0.72f, 0.72f}, {-0.72f, 0.72f}}});
    at(Shape::kTriangle) = radial_polygon(3, 1, 1);
    at(Shape::kStar) = radial_polygon(10, 1, 0.42f);
    at(Shape::kCross) = cross_polygon();
    at(Shape::kHeart) = heart_polygon();
    at(Shape::kHexagon) = radial_polygon(6, 0.97f, 0.97f);
    at(Shape::kArrow) = arrow_polygon();
    return table;
  }();
  return kPolygons;
}

float polygon_distance(const Polygon& edges, Point p) {
  float nearest = std::numeric_limits<float>::max();
  bool inside = false;
  for (const Edge& edge : edges) {
    const float x = p.x - edge.start.x;
    const float y = p.y - edge.start.y;
    const float t = std::clamp((x * edge.along.x + y * edge.along.y) * edge.inverse_length2, 0.0f, 1.0f);
    const float dx = x - t * edge.along.x;
    const float dy = y - t * edge.along.y;
    nearest = std::min(nearest, dx * dx + dy * dy);
    const bool crosses = (y < 0) != (y < edge.along.y) && x < y * edge.run;
    inside = inside != crosses;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

// Signed distance to the outline of a shape inscribed in the unit circle; negative inside.
float shape_distance(Shape shape, Point p) {
  const float radius = std::sqrt(p.x * p.x + p.y * p.y);
  switch (shape) {
    case Shape::kCircle:
      return radius - 0.9f;
    case Shape::kRing:
      return std::abs(radius - 0.72f) - 0.22f;
    case Shape::kCrescent: {
      const float bite = 0.78f - std::sqrt((p.x - 0.5f) * (p.x - 0.5f) + p.y * p.y);
      return std::max(radius - 0.97f, bite);
    }
    default:
      return polygon_distance(polygons()[static_cast<std::size_t>(shape)], p);
  }
}

Color mix(Color a, Color b, float weight) {
  return {a.r + (b.r - a.r) * weight, a.g + (b.g - a.g) * weight, a.b + (b.b - a.b) * weight};
}

float unit(float value) { return std::clamp(value, 0.0f, 1.0f); }

float fraction(float value) { return value - std::floor(value); }

// A square wave of period 1 in [-1, 1] whose flanks are `width` (a pixel, in periods) wide.
float square_wave(float u, float width) {
  const float triangle = 4 * std::abs(fraction(u) - 0.5f) - 1;
  return std::clamp(triangle / (2 * width), -1.0f, 1.0f);
}

float stripes(float u, float width) { return 0.5f + 0.5f * square_wave(u, width); }

float checks(float u, float v, float width) { return 0.5f + 0.5f * square_wave(u, width) * square_wave(v, width); }

float dots(float u, float v, float width) {
  const float x = fraction(u) - 0.5f;
  const float y = fraction(v) - 0.5f;
  return unit(0.5f - (std::sqrt(x * x + y * y) - 0.3f) / width);
}

// Smooth value noise in [0, 1] over the unit square.
class NoiseField {
 public:
  NoiseField(int cells, Rng& rng)
      : stride_(static_cast<std::size_t>(cells) + 1), cells_(static_cast<float>(cells)), values_(stride_ * stride_) {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      word = i % 4 == 0 ? rng.bits() : word >> 8;
      values_[i] = static_cast<float>(word & 255) / 255;
    }
  }

  float at(float x, float y) const {
    const float u = x * cells_;
    const float v = y * cells_;
    const auto column = static_cast<std::size_t>(u);
    const auto row = static_cast<std::size_t>(v);
    const float s = ease(u - static_cast<float>(column));
    const float t = ease(v - static_cast<float>(row));
    const float* top = values_.data() + row * stride_ + column;
    const float* bottom = top + stride_;
    const float upper = top[0] + (top[1] - top[0]) * s;
    const float lower = bottom[0] + (bottom[1] - bottom[0]) * s;
    return upper + (lower - upper) * t;
  }

 private:
  static float ease(float t) { return t * t * (3 - 2 * t); }

  std::size_t stride_;
  float cells_;
  std::vector<float> values_;
};

class Canvas {
 public:
  explicit Canvas(int side) : side_(side), pixel_(1.0f / static_cast<float>(side)) {
    colors_.resize(static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  }

  float pixel() const { return pixel_; }  // its width, in scene units

  // Calls paint(x, y, color&) for each pixel whose centre lies within `reach` of (x, y), give or take one pixel.
  template <class Paint>
  void visit(float x, float y, float reach_x, float reach_y, Paint paint) {
    const int left = first(x - reach_x), right = last(x + reach_x);
    const int top = first(y - reach_y), bottom = last(y + reach_y);
    for (int row = top; row < bottom; ++row) {
      Color* line = colors_.data() + static_cast<std::size_t>(row) * static_cast<std::size_t>(side_);
      const float center_y = (static_cast<float>(row) + 0.5f) * pixel_;
      for (int column = left; column < right; ++column) {
        paint((static_cast<float>(column) + 0.5f) * pixel_, center_y, line[column]);
      }
    }
  }

  template <class Paint>
  void visit_all(Paint paint) {
    visit(0.5f, 0.5f, 0.5f, 0.5f, paint);
  }

  Image to_image() const {
    Image image(side_, side_);
    std::uint8_t* out = image.pixels.data();
    for (const Color& color : colors_) {
      for (const float value : {color.r, color.g, color.b})
        *out++ = static_cast<std::uint8_t>(unit(value) * 255 + 0.5f);
    }
    return image;
  }

 private:
  int first(float edge) const { return std::max(0, static_cast<int>(std::floor(edge / pixel_)) - 1); }
  int last(float edge) const { return std::min(side_, static_cast<int>(std::ceil(edge / pixel_)) + 1); }

  int side_;
  float pixel_;
  std::vector<Color> colors_;
};

// Coordinates turned by `angle` and divided by `scale`, around (x, y).
class Frame {
 public:
  Frame(double x, double y, double angle, double scale)
      : x_(static_cast<float>(x)),
        y_(static_cast<float>(y)),
        cosine_(static_cast<float>(std::cos(angle) / scale)),
        sine_(static_cast<float>(std::sin(angle) / scale)) {}

  Point local(float x, float y) const {
    x -= x_;
    y -= y_;
    return {x * cosine_ + y * sine_, y * cosine_ - x * sine_};
  }

 private:
  float x_, y_, cosine_, sine_;
};

float backdrop_weight(Backdrop kind, Point p, float width) {
  switch (kind) {
    case Backdrop::kStriped:
      return stripes(p.x, width);
    case Backdrop::kCheckered:
      return checks(p.x, p.y, width);
    case Backdrop::kSpotted:
      return dots(p.x, p.y, width);
    default:
      return 0.5f;
  }
}

void draw_backdrop(Canvas& canvas, const BackdropSpec& spec, Rng& rng) {
  const NoiseField clouds(4, rng), wisps(9, rng), grain(spec.grain_cells, rng);
  const Frame pattern(0.5, 0.5, spec.angle, spec.pitch);
  const Frame slope(0.5, 0.5, spec.angle, 1.0);
  const float width = canvas.pixel() / static_cast<float>(spec.pitch);
  const auto cloud_strength = static_cast<float>(spec.clouds);
  const auto grain_strength = static_cast<float>(spec.grain);
  canvas.visit_all([&](float x, float y, Color& color) {
    float weight = spec.kind == Backdrop::kPlain ? 0.5f + 0.8f * slope.local(x, y).x
                                                 : backdrop_weight(spec.kind, pattern.local(x, y), width);
    weight += cloud_strength * (0.65f * clouds.at(x, y) + 0.35f * wisps.at(x, y) - 0.5f);
    weight += grain_strength * (grain.at(x, y) - 0.5f);
    color = mix(spec.paint, spec.accent, unit(weight));
  });
}

void draw_stroke(Canvas& canvas, const Stroke& stroke) {
  const auto x0 = static_cast<float>(stroke.x0), y0 = static_cast<float>(stroke.y0);
  const float along_x = static_cast<float>(stroke.x1) - x0, along_y = static_cast<float>(stroke.y1) - y0;
  const float length2 = along_x * along_x + along_y * along_y;
  const float radius = static_cast<float>(stroke.width) / 2;
  const float reach_x = std::abs(along_x) / 2 + radius, reach_y = std::abs(along_y) / 2 + radius;
  canvas.visit(x0 + along_x / 2, y0 + along_y / 2, reach_x, reach_y, [&](float x, float y, Color& color) {
    const float t = unit(((x - x0) * along_x + (y - y0) * along_y) / length2);
    const float dx = x - x0 - t * along_x, dy = y - y0 - t * along_y;
    const float distance = std::sqrt(dx * dx + dy * dy) - radius;
    color = mix(color, stroke.paint, unit(0.5f - distance / canvas.pixel()));
  });
}

float texture_weight(Texture texture, Point p, float radii, float width) {
  switch (texture) {
    case Texture::kSolid:
      return 0;
    case Texture::kStriped:
      return stripes(p.x, width);
    case Texture::kDotted:
      return dots(p.x, p.y, width);
    case Texture::kCheckered:
      return checks(p.x, p.y, width);
    case Texture::kShaded:
      return unit(0.5f + 0.6f * radii);
  }
  return 0;
}

Frame object_frame(const SceneObject& object) { return Frame(object.x, object.y, object.rotation, object.size / 2); }

void draw_object(Canvas& canvas, const SceneObject& object) {
  const Frame frame = object_frame(object);
  const Frame weave(0, 0, object.texture_angle, object.texture_pitch);
  const auto radius = static_cast<float>(object.size / 2);
  const float pixel = canvas.pixel() / radius;
  const float width = pixel / static_cast<float>(object.texture_pitch);
  const auto rim = static_cast<float>(object.outline);
  const auto pitch = static_cast<float>(object.texture_pitch);
  canvas.visit(static_cast<float>(object.x), static_cast<float>(object.y), radius, radius,
               [&](float x, float y, Color& color) {
                 const Point p = frame.local(x, y);
                 const float distance = shape_distance(object.shape, p);
                 const float coverage = unit(0.5f - distance / pixel);
                 if (coverage == 0) return;
                 const Point woven = weave.local(p.x, p.y);
                 const float weight = texture_weight(object.texture, woven, woven.x * pitch, width);
                 Color paint = mix(object.paint, object.accent, weight);
                 if (rim > 0) paint = mix(paint, object.outline_paint, unit(0.5f + (distance + rim) / pixel));
                 color = mix(color, paint, coverage);
               });
}

void shine(Canvas& canvas, const Light& light, Rng& rng) {
  const NoiseField noise(48, rng);
  const Frame slope(0.5, 0.5, light.angle, 0.5);
  const auto tilt = static_cast<float>(light.tilt);
  const auto amplitude = static_cast<float>(2 * light.noise);
  canvas.visit_all([&](float x, float y, Color& color) {
    const float gain = 1 + tilt * slope.local(x, y).x;
    const float shift = amplitude * (noise.at(x, y) - 0.5f);
    color = {color.r * gain * light.tint.r + shift, color.g * gain * light.tint.g + shift,
             color.b * gain * light.tint.b + shift};
  });
}

}  // namespace

Image draw_scene(const Scene& scene, int side) {
  invariant(side > 0 && !scene.objects.empty(), "draw_scene: side ", side, ", ", scene.objects.size(), " objects");
  Rng rng(scene.noise_seed, Purpose::kScene, 1);  // epoch 0 described the scene
  Canvas canvas(side);
  draw_backdrop(canvas, scene.backdrop, rng);
  for (const Stroke& stroke : scene.strokes) draw_stroke(canvas, stroke);
  for (std::size_t i = scene.objects.size(); i-- > 0;) draw_object(canvas, scene.objects[i]);
  shine(canvas, scene.light, rng);
  return canvas.to_image();
}

std::vector<std::uint8_t> scene_mask(const Scene& scene, int side) {
  invariant(side > 0, "scene_mask: side ", side);
  std::vector<std::uint8_t> mask;
  mask.reserve(static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  for (int row = 0; row < side; ++row) {
    for (int column = 0; column < side; ++column) {
      const float x = (static_cast<float>(column) + 0.5f) / static_cast<float>(side);
      const float y = (static_cast<float>(row) + 0.5f) / static_cast<float>(side);
      const auto top = std::ranges::find_if(scene.objects, [&](const SceneObject& object) {
        return shape_distance(object.shape, object_frame(object).local(x, y)) < 0;
      });
      mask.push_back(top == scene.objects.end() ? 0 : static_cast<std::uint8_t>(1 + static_cast<int>(top->shape)));
    }
  }
  return mask;
}

}  // namespace lacuna
