#pragma once
// Small feature sets and sources for the evaluators' tests.

#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "eval/features.h"
#include "nn/init.h"

namespace lacuna::testing {

inline std::vector<std::string> class_names(std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(text("class", i));
  return names;
}

// Rows around one random centre per class; label = row mod classes. `spread` 0 leaves the centres alone.
inline Features clusters(std::int64_t rows, std::int64_t classes, std::int64_t width, double spread,
                         std::uint64_t draw) {
  Features out{.values = at::empty({rows, width}),
               .labels = at::arange(rows, at::kLong).remainder(classes),
               .classes = class_names(classes)};
  for (std::int64_t i = 0; i < rows; ++i) {
    Rng centre(1, Purpose::kTest, 0, static_cast<std::uint64_t>(i % classes)),
        noise(2, Purpose::kTest, draw, static_cast<std::uint64_t>(i));
    float* row = out.values.data_ptr<float>() + i * width;
    for (std::int64_t d = 0; d < width; ++d) row[d] = static_cast<float>(centre.normal() + spread * noise.normal());
  }
  return out;
}

// Images of one colour per class with noise; chosen ones refuse to decode.
class ColorSource : public Source {
 public:
  explicit ColorSource(std::int64_t size, std::set<std::int64_t> bad = {}, std::int64_t classes = 3,
                       std::uint64_t seed = 0)
      : size_(size), bad_(std::move(bad)), seed_(seed), classes_(class_names(classes)) {}

  std::int64_t size() const override { return size_; }
  std::string name(std::int64_t index) const override { return text("color:", index); }
  Image image(std::int64_t index) const override {
    if (index == crash) throw std::runtime_error("the disk is on fire");
    if (bad_.contains(index)) throw Error(name(index) + ": is broken", ExitCode::kBadData);
    Image out(23 + static_cast<int>(index % 4), 19);
    Rng color(9, Purpose::kTest, 0, static_cast<std::uint64_t>(label(index)));
    Rng noise(seed_, Purpose::kTest, 1, static_cast<std::uint64_t>(index));
    const std::int64_t base[3] = {color.integer(20, 200), color.integer(20, 200), color.integer(20, 200)};
    for (std::size_t i = 0; i < out.pixels.size(); ++i)
      out.pixels[i] = static_cast<std::uint8_t>(base[i % 3] + noise.integer(-20, 20));
    return out;
  }
  std::int64_t label(std::int64_t index) const override { return index % std::ssize(classes_); }
  std::string caption(std::int64_t, Rng&) const override { return ""; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return 1; }

  std::int64_t crash = -1;

 private:
  std::int64_t size_;
  std::set<std::int64_t> bad_;
  std::uint64_t seed_;
  std::vector<std::string> classes_;
};

inline Backbone tiny_backbone(std::uint64_t seed = 3) {
  VitConfig vit;
  vit.image_side = 16;
  vit.patch_side = 8;
  vit.width = 24;
  vit.depth = 2;
  vit.heads = 3;
  vit.hidden = 48;
  const Backbone shape{.config = {.vit = vit}, .vit = nullptr, .origin = ""};
  return random_like(shape, seed);
}

inline Features head_of(const Features& features, std::int64_t rows) {
  return {.values = features.values.narrow(0, 0, rows),
          .labels = features.labels.narrow(0, 0, rows),
          .classes = features.classes};
}

// Runs `what` and returns the text of the Error it throws; empty when it throws none.
template <class Call>
std::string error_of(const Call& what) {
  try {
    what();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline double largest_difference(const at::Tensor& found, const at::Tensor& expected) {
  invariant(found.sizes() == expected.sizes(), "tensors of different shapes");
  return (found.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace lacuna::testing
