#pragma once
// The built-in data set: captioned synthetic scenes, drawn on the fly.
//
// A scene holds one main object, up to two small distractors, a cluttered backdrop and its own light. The label is one
// fact of the main object, usually its shape; texture, place, size and rotation are drawn independently of it and of
// one another, so the class can hardly be read off raw pixels and must be learnt. Scene i is a pure function of
// (seed, i). `shapes_draw.h` turns a scene into pixels at any side.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "data/source/source.h"

namespace lacuna {

enum class Shape : int { kCircle, kSquare, kTriangle, kStar, kCross, kRing, kHeart, kCrescent, kHexagon, kArrow };
enum class Texture : int { kSolid, kStriped, kDotted, kCheckered, kShaded };
enum class Backdrop : int { kPlain, kCloudy, kNoisy, kStriped, kCheckered, kSpotted };
enum class SizeClass : int { kSmall, kMedium, kLarge };

// Names by enumerator (or by colour index); a caption uses exactly these words, except for sizes, where it may also say
// "little", "medium-sized" or "big".
const std::vector<std::string>& shape_names();
const std::vector<std::string>& color_names();
const std::vector<std::string>& texture_names();
const std::vector<std::string>& backdrop_names();
const std::vector<std::string>& size_names();

struct Color {  // channels in [0, 1]; a pixel stores round(255 * value)
  float r = 0;
  float g = 0;
  float b = 0;
};

// Lengths and positions are shares of the image's side, x to the right and y downwards; angles are radians.
struct SceneObject {
  Shape shape = Shape::kCircle;
  int color = 0;  // index into color_names()
  Texture texture = Texture::kSolid;
  double x = 0.5;  // centre
  double y = 0.5;
  double size = 0.5;  // diameter of the circle around the shape
  double rotation = 0;
  Color paint;   // the named colour, jittered
  Color accent;  // second colour of the texture
  double texture_angle = 0;
  double texture_pitch = 0.5;  // period of the texture as a share of the shape's radius
  double outline = 0;          // width of a rim as a share of the shape's radius; 0 for none
  Color outline_paint;
};

// A stroke of background clutter: a straight piece of a line with round ends.
struct Stroke {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  double width = 0.01;
  Color paint;
};

struct BackdropSpec {
  Backdrop kind = Backdrop::kPlain;
  int color = 0;  // of `paint`, index into color_names()
  Color paint;
  Color accent;
  double angle = 0;
  double pitch = 0.2;    // period of stripes, checks and spots
  double clouds = 0;     // strength of low-frequency noise, in blend weight between the two colours
  double grain = 0;      // strength of high-frequency noise, likewise
  int grain_cells = 24;  // high-frequency noise has this many cells along a side
};

struct Light {
  double angle = 0;
  double tilt = 0;  // relative change of brightness from the centre to the side
  Color tint{1, 1, 1};
  double noise = 0;  // amplitude of the grey noise over everything
};

struct Scene {
  std::vector<SceneObject> objects;  // the main object first; it is drawn last, over the distractors
  BackdropSpec backdrop;
  std::vector<Stroke> strokes;
  Light light;
  std::uint64_t noise_seed = 0;  // names the noise fields

  const SceneObject& main() const { return objects.front(); }
};

// Which fact of the main object is its class.
enum class SceneLabel { kShape, kColor, kTexture };

struct ShapesConfig {
  std::int64_t size = 10000;  // scenes
  std::uint64_t seed = 0;
  int side = 64;  // pixels
  SceneLabel label = SceneLabel::kShape;
};

SizeClass size_class(const SceneObject& object);

// Where the centre lies: "top left", "top", "middle", ... (nine names).
std::string position_name(const SceneObject& object);

// All facts of scene `index`; does not depend on config.side or config.size.
Scene describe_scene(const ShapesConfig& config, std::int64_t index);

// A phrase that always names the main object's shape, mostly its size, colour and texture, and now and then its place,
// the distractors and the backdrop. What it says is true of the scene; what it mentions and how is `rng`'s choice.
std::string describe_in_words(const Scene& scene, Rng& rng);

// Throws Error when size is not positive or side is outside [8, 4096].
std::unique_ptr<Source> make_shapes_source(const ShapesConfig& config);

}  // namespace lacuna
