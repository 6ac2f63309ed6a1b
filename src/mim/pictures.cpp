#include "mim/pictures.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "io/image/png_writer.h"
#include "io/image/resize.h"

namespace lacuna {
namespace {

constexpr int kPanelSide = 160;  // pixels, at least; small inputs are enlarged by a whole factor
constexpr int kMargin = 6;
constexpr std::uint8_t kPaper = 255;
constexpr std::uint8_t kHidden = 110;
constexpr std::ptrdiff_t kColors = 3;

// Points of the scale, evenly spaced; linear between them.
constexpr double kScale[][3] = {
    {0.27, 0.00, 0.33}, {0.23, 0.32, 0.55}, {0.13, 0.57, 0.55}, {0.37, 0.79, 0.38}, {0.99, 0.91, 0.14}};

Image enlarge(const Image& image, int factor) {
  Image out(image.width * factor, image.height * factor);
  for (int y = 0; y < out.height; ++y) {
    const std::uint8_t* from = image.row(y / factor);
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x) std::memcpy(to + kColors * x, from + kColors * (x / factor), kColors);
  }
  return out;
}

// A map of G x G values in [low, high] as squares of `cell` pixels; NaN is drawn gray.
Image draw_map(const at::Tensor& values, int64_t grid, int cell, double low, double high) {
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).contiguous();
  const double* v = flat.data_ptr<double>();
  Image out(static_cast<int>(grid) * cell, static_cast<int>(grid) * cell);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const double value = v[(y / cell) * grid + x / cell];
      const auto color = std::isnan(value) ? std::array<std::uint8_t, 3>{kHidden, kHidden, kHidden}
                                           : heat((value - low) / (high - low));
      std::copy(color.begin(), color.end(), out.row(y) + kColors * x);
    }
  }
  return out;
}

Image hide(const Image& image, const std::vector<uint8_t>& masked, int64_t grid) {
  Image out = image;
  const int cell = image.width / static_cast<int>(grid);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      if (masked[static_cast<size_t>((y / cell) * grid + x / cell)])
        std::memset(out.row(y) + kColors * x, kHidden, kColors);
    }
  }
  return out;
}

std::vector<uint8_t> mask_of(const MaskPlan& plan, int64_t sample) {
  std::vector<uint8_t> mask(static_cast<size_t>(plan.patches), 0);
  const at::Tensor rows = plan.masked.to(at::kCPU);
  const int64_t* row = rows.data_ptr<int64_t>();
  for (int64_t i = 0; i < rows.numel(); ++i) {
    if (row[i] / plan.patches == sample) mask[static_cast<size_t>(row[i] % plan.patches)] = 1;
  }
  return mask;
}

// The whole of a sample as a view, [side, side, channels] at `out`.
void draw_view(const Sheets& sheets, const ViewSpec& view, std::uint8_t* out) {
  const auto sized = [&](const Image& sheet) { return resize(sheet, view.side, view.side, view.kernel); };
  Sheets shown;
  if (view.spectrum == 0) {
    shown.push_back(sized(sheets.back()));
  } else {
    for (int i = 0; i < sheets_of(view.spectrum); ++i) shown.push_back(sized(sheets.at(static_cast<size_t>(i))));
  }
  interleave(shown, view.channels(), out);
}

Image stack_rows(const std::vector<Image>& rows) {
  Image out(rows[0].width, 0);
  for (const Image& row : rows) {
    out.height += row.height;
    out.pixels.insert(out.pixels.end(), row.pixels.begin(), row.pixels.end());
  }
  return out;
}

}  // namespace

std::array<std::uint8_t, 3> heat(double value) {
  constexpr int kLast = static_cast<int>(std::size(kScale)) - 1;
  const double place = std::clamp(value, 0.0, 1.0) * kLast;
  const int below = std::min(static_cast<int>(place), kLast - 1);
  std::array<std::uint8_t, 3> out{};
  for (size_t c = 0; c < 3; ++c) {
    const double mixed = kScale[below][c] + (place - below) * (kScale[below + 1][c] - kScale[below][c]);
    out[c] = static_cast<std::uint8_t>(std::lround(255 * mixed));
  }
  return out;
}

Image panel_row(std::span<const Image> panels, int margin) {
  const int side = panels[0].height;
  Image out(static_cast<int>(panels.size()) * (side + margin) + margin, side + margin);
  std::fill(out.pixels.begin(), out.pixels.end(), kPaper);
  for (size_t i = 0; i < panels.size(); ++i) {
    const std::ptrdiff_t left = margin + static_cast<std::ptrdiff_t>(i) * (side + margin);
    for (int y = 0; y < side; ++y) std::copy_n(panels[i].row(y), kColors * side, out.row(y) + kColors * left);
  }
  return out;
}

Image hidden_patches(const Image& image, const MaskPlan& plan, int64_t sample) {
  return hide(image, mask_of(plan, sample), std::llround(std::sqrt(static_cast<double>(plan.patches))));
}

PictureWriter::PictureWriter(Method& method, std::vector<Sheets> images, std::filesystem::path folder, uint64_t seed,
                             at::Device device)
    : method_(method), images_(std::move(images)), folder_(std::move(folder)), seed_(seed) {
  const std::vector<ViewSpec> views = method_.views();
  for (const ViewSpec& view : views) {
    std::vector<std::uint8_t> pixels;
    for (const Sheets& sheets : images_) {
      const auto start = std::ssize(pixels);
      pixels.resize(pixels.size() + view.bytes());
      draw_view(sheets, view, &pixels[static_cast<size_t>(start)]);
    }
    batch_.views.push_back(normalize_pixels(pixels, static_cast<int64_t>(images_.size()), view, device));
  }
  for (size_t i = 0; i < images_.size(); ++i) batch_.ids.push_back(static_cast<int64_t>(i));
  batch_.labels.assign(images_.size(), kNoLabel);
}

std::vector<Metric> PictureWriter::run(int64_t step) {
  const at::NoGradGuard no_grad;
  const StepContext context{.seed = seed_, .step = step, .training = false};
  const MaskPlan plan = method_.plan(batch_, context);
  const PatchMaps maps = method_.maps(batch_, context);
  if (!maps.agreement.defined()) return {};
  std::filesystem::create_directories(folder_);
  write_png(folder_ / text("step-", step, ".png"), draw(plan, maps));
  return {};
}

Image PictureWriter::draw(const MaskPlan& plan, const PatchMaps& maps) const {
  const auto grid = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(plan.patches))));
  std::vector<Image> rows;
  for (size_t i = 0; i < images_.size(); ++i) {
    const Image& image = images_[i].back();
    const int factor = std::max(1, (kPanelSide + image.width - 1) / image.width),
              cell = image.width * factor / static_cast<int>(grid);
    const auto sample = static_cast<int64_t>(i);
    std::vector<Image> panels = {enlarge(image, factor), enlarge(hide(image, mask_of(plan, sample), grid), factor),
                                 draw_map(maps.agreement[sample], grid, cell, 0, 1)};
    if (maps.similarity.defined()) {
      const at::Tensor map = maps.similarity[sample];
      panels.push_back(draw_map(map, grid, cell, map.min().item<double>(), map.max().item<double>() + 1e-9));
    }
    rows.push_back(panel_row(panels, kMargin));
  }
  return stack_rows(rows);
}

}  // namespace lacuna
