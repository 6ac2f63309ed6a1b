#include "data/view/render.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/error.h"
#include "data/view/jitter.h"

namespace lacuna {
namespace {

int crops_of(std::span<const ViewSpec> views) {
  int crops = 0;
  for (const ViewSpec& view : views) crops = std::max(crops, view.crop + 1);
  return crops;
}

bool is_colors(const ViewSpec& view, int crop) { return view.crop == crop && view.spectrum == 0; }

bool is_asked_for(int crop, std::span<const ViewSpec> views) {
  return std::any_of(views.begin(), views.end(), [crop](const ViewSpec& view) { return is_colors(view, crop); });
}

int widest_of(std::span<const ViewSpec> views) {
  int widest = 0;
  for (const ViewSpec& view : views) widest = std::max(widest, view.side);
  return widest;
}

bool has_jitter(const AugmentConfig& config) { return config.color_jitter > 0.0 || config.hue > 0.0; }

Box around(const Box& a, const Box& b) {
  const int left = std::min(a.left, b.left), top = std::min(a.top, b.top);
  return {left, top, std::max(a.left + a.width, b.left + b.width) - left,
          std::max(a.top + a.height, b.top + b.height) - top};
}

// Where a box lies inside the whole pixels that reduced() gives for it.
Region inside_reduced(const Box& box, int reduction) {
  const Box pixels = reduced(box, reduction);
  const auto edge = [&](int at, int first) {
    return static_cast<float>(at) / static_cast<float>(reduction) - static_cast<float>(first);
  };
  return {edge(box.left, pixels.left), edge(box.top, pixels.top), edge(box.left + box.width, pixels.left),
          edge(box.top + box.height, pixels.top)};
}

}  // namespace

CropDraw draw_view_crop(int width, int height, const AugmentConfig& config, std::uint64_t seed, std::uint64_t epoch,
                        std::uint64_t sample) {
  Rng color(seed, Purpose::kColor, epoch, sample);
  Rng flip(seed, Purpose::kFlip, epoch, sample);
  Rng box_draws(seed, Purpose::kCrop, epoch, sample);
  CropDraw draw;
  draw.mirrored = flip.chance(config.flip);
  if (has_jitter(config)) draw.jitter = draw_color_jitter(config.color_jitter, config.hue, color);
  draw.box = draw_crop(width, height, config, box_draws);
  if (draw.mirrored) draw.box.left = width - draw.box.left - draw.box.width;
  draw.finish = draw_finish(config, seed, epoch, sample);
  return draw;
}

void ViewRenderer::render(ImageReader& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                          std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample,
                          std::span<std::uint8_t* const> out) {
  invariant(out.size() == views.size(), "ViewRenderer: ", out.size(), " places for ", views.size(), " views");
  draws_.resize(static_cast<std::size_t>(crops_of(views)));
  for (int crop = 0; crop < crops_of(views); ++crop) {
    draws_[static_cast<std::size_t>(crop)] =
        draw_view_crop(image.width(), image.height(), config, seed, crop_epoch(epoch, crop), sample);
  }
  reduction_ = config.fast_decode ? reduction_for(image, views) : 1;
  has_jitter(config) ? render_jittered(image, config, views, out) : render_part(image, config, views, out);
  for (std::size_t i = 0; i < views.size(); ++i) {
    if (views[i].spectrum > 0) render_spectrum(image, views[i], config, widest_of(views), out[i]);
  }
}

void ViewRenderer::render_spectrum(const ImageReader& image, const ViewSpec& view, const AugmentConfig& config,
                                   int widest, std::uint8_t* out) {
  const CropDraw& draw = draws_[static_cast<std::size_t>(view.crop)];
  invariant(!has_jitter(config) && !draw.finish.gray, "colour jitter or grayscale of a spectrum");
  invariant(sheets_of(view.spectrum) <= image.spectrum_sheets(), "a view of ", view.spectrum, " channels of ",
            image.name, ", which has ", image.spectrum_sheets(), " sheets of them");
  spectrum_.resize(static_cast<std::size_t>(sheets_of(view.spectrum)));
  for (std::size_t i = 0; i < spectrum_.size(); ++i) {
    Image& sheet = spectrum_[i];
    sheet.width = sheet.height = view.side;
    sheet.pixels.resize(static_cast<std::size_t>(view.side) * static_cast<std::size_t>(view.side) * 3);
    const ImageView box = image.spectrum_sheet(static_cast<int>(i)).part(draw.box);
    resizer_.resize(box, {view.side, view.side, view.kernel, config.pass_order, draw.mirrored}, sheet.pixels.data());
    finish_view(sheet, draw.finish, static_cast<double>(view.side) / widest);
  }
  interleave(spectrum_, view.spectrum, out);
}

// The largest that every view allows.
int ViewRenderer::reduction_for(const ImageReader& image, std::span<const ViewSpec> views) const {
  int reduction = 8;
  for (const ViewSpec& view : views) {
    reduction = std::min(reduction, image.reduction_for(draws_[static_cast<std::size_t>(view.crop)].box, view.side));
  }
  return reduction;
}

void ViewRenderer::resize_views(const ImageView& pixels, int crop, const AugmentConfig& config,
                                std::span<const ViewSpec> views, std::span<std::uint8_t* const> out) {
  const CropDraw& draw = draws_[static_cast<std::size_t>(crop)];
  const Region region = inside_reduced(draw.box, reduction_);
  for (std::size_t i = 0; i < views.size(); ++i) {
    const ViewSpec& view = views[i];
    if (!is_colors(view, crop)) continue;
    const auto same = std::find_if(
        views.begin(), views.begin() + static_cast<std::ptrdiff_t>(i),
        [&](const ViewSpec& v) { return is_colors(v, crop) && v.side == view.side && v.kernel == view.kernel; });
    const auto earlier = static_cast<std::size_t>(same - views.begin());
    if (earlier < i) {
      std::memcpy(out[i], out[earlier], view.bytes());
      continue;
    }
    resizer_.resize_region(pixels, region, {view.side, view.side, view.kernel, config.pass_order, draw.mirrored},
                           out[i]);
  }
  if (draw.finish.any()) finish_views(crop, views, out);
}

void ViewRenderer::finish_views(int crop, std::span<const ViewSpec> views, std::span<std::uint8_t* const> out) {
  const int widest = widest_of(views);
  for (std::size_t i = 0; i < views.size(); ++i) {
    const ViewSpec& view = views[i];
    if (!is_colors(view, crop)) continue;
    finished_.width = finished_.height = view.side;
    finished_.pixels.assign(out[i], out[i] + view.bytes());
    finish_view(finished_, draws_[static_cast<std::size_t>(crop)].finish, static_cast<double>(view.side) / widest);
    std::memcpy(out[i], finished_.pixels.data(), view.bytes());
  }
}

void ViewRenderer::render_part(ImageReader& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                               std::span<std::uint8_t* const> out) {
  Box needed;
  for (int crop = 0; crop < std::ssize(draws_); ++crop) {
    if (!is_asked_for(crop, views)) continue;
    const Box& box = draws_[static_cast<std::size_t>(crop)].box;
    needed = needed.width == 0 ? box : around(needed, box);
  }
  if (needed.width == 0) return;  // nobody wants to see anything
  const ImageView pixels = image.read_reduced(needed, reduction_);
  const Box origin = reduced(needed, reduction_);
  for (int crop = 0; crop < std::ssize(draws_); ++crop) {
    if (!is_asked_for(crop, views)) continue;
    Box box = reduced(draws_[static_cast<std::size_t>(crop)].box, reduction_);
    box.left -= origin.left;
    box.top -= origin.top;
    resize_views(pixels.part(box), crop, config, views, out);
  }
}

void ViewRenderer::render_jittered(ImageReader& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                                   std::span<std::uint8_t* const> out) {
  const ImageView whole = image.read_reduced({0, 0, image.width(), image.height()}, reduction_);
  for (int crop = 0; crop < std::ssize(draws_); ++crop) {
    if (!is_asked_for(crop, views)) continue;
    const CropDraw& draw = draws_[static_cast<std::size_t>(crop)];
    jittered_part(whole, reduced(draw.box, reduction_), draw.jitter, jittered_);
    resize_views(jittered_, crop, config, views, out);
  }
}

std::vector<Image> render_views(const Image& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                                std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) {
  std::vector<Image> rendered;
  std::vector<std::uint8_t*> places;
  rendered.reserve(views.size());
  places.reserve(views.size());
  for (const ViewSpec& view : views) rendered.emplace_back(view.side, view.side);
  for (Image& view : rendered) places.push_back(view.pixels.data());
  ImageReader reader;
  reader.hold({image});
  ViewRenderer().render(reader, config, views, seed, epoch, sample, places);
  return rendered;
}

}  // namespace lacuna
