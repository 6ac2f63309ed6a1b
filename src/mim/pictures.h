#pragma once
// What a run looks like: for a few fixed images one row each of input, what the student is shown, per-patch agreement
// of prediction and target, and the target's class-token similarity map.

#include <filesystem>
#include <functional>
#include <vector>

#include "io/image/image.h"
#include "mim/method.h"

namespace lacuna {

// Colour of a value in [0, 1] on a perceptually ordered scale from dark blue over green to yellow.
std::array<std::uint8_t, 3> heat(double value);

// One row of panels of equal side, with a margin between them.
Image panel_row(std::span<const Image> panels, int margin);

// The square image of one sample of the plan with its hidden patches painted gray.
Image hidden_patches(const Image& image, const MaskPlan& plan, int64_t sample);

class PictureWriter : public Evaluator {
 public:
  // `images` are squares of the student's side, of which the RGB sheet is drawn; `folder` receives step-N.png. `ids`
  // name the samples, so that their masks are always the same.
  PictureWriter(Method& method, std::vector<Sheets> images, std::filesystem::path folder, uint64_t seed,
                at::Device device);

  std::string name() const override { return "pictures"; }
  std::vector<Metric> run(int64_t step) override;

 private:
  Image draw(const MaskPlan& plan, const PatchMaps& maps) const;

  Method& method_;
  std::vector<Sheets> images_;
  Batch batch_;
  std::filesystem::path folder_;
  uint64_t seed_;
};

}  // namespace lacuna
