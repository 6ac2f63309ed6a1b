#include "io/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "io/image/resize_passes.h"
#include "io/image/resize_taps.h"

namespace lacuna {

std::span<const ResizePasses> resize_passes() {
  static constexpr ResizePasses kPasses[] = {
      {"plain", resize_plain::across, resize_plain::down},
#ifdef LACUNA_X86
      {"avx2", resize_avx2::across, resize_avx2::down},
      {"avx512-vnni", resize_vnni::across, resize_vnni::down},
#endif
  };
  std::size_t usable = 1;
#ifdef LACUNA_X86
  const bool avx2 = __builtin_cpu_supports("avx2");
  const bool vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
  usable = avx2 ? vnni ? 3 : 2 : 1;
#endif
  return std::span(kPasses).first(usable);
}

struct ResizeScratch {
  explicit ResizeScratch(const ResizePasses& chosen) : passes(chosen) {}

  ResizePasses passes;
  Taps across, down;
  std::vector<std::uint8_t> rows;  // between the passes
  std::vector<std::int32_t> packed;
};

namespace {

struct Plan {
  Axis across, down;
  Kernel kernel;
  bool down_first;
};

bool is_down_first(PassOrder order, const ImageView& image, int width, int height) {
  const int less_high = image.height - height, less_wide = image.width - width;
  return order == PassOrder::kPillow13 && less_high > 0 && less_high > 2 * less_wide;
}

std::size_t row_bytes(int width) { return static_cast<std::size_t>(width) * 3; }

std::uint8_t* rows_for(ResizeScratch& scratch, int height, std::size_t stride) {
  scratch.rows.resize(std::max(scratch.rows.size(), static_cast<std::size_t>(height) * stride));
  return scratch.rows.data();
}

void copy(const ImageView& image, std::uint8_t* out) {
  for (int y = 0; y < image.height; ++y, out += row_bytes(image.width)) {
    std::memcpy(out, image.row(y), row_bytes(image.width));
  }
}

void mirror(const ImageView& image, std::uint8_t* out) {
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* in = image.row(y) + row_bytes(image.width);
    for (int x = 0; x < image.width; ++x, out += 3) {
      in -= 3;
      out[0] = in[0];
      out[1] = in[1];
      out[2] = in[2];
    }
  }
}

// The columns of `image` that are wanted, where the width is kept.
void take_columns(const ImageView& image, const Axis& across, std::uint8_t* out) {
  const ImageView wanted = image.part({across.first_out, 0, across.outputs(), image.height});
  across.mirrored ? mirror(wanted, out) : copy(wanted, out);
}

void pass_across(ResizeScratch& scratch, const ImageView& image, const Axis& axis, std::uint8_t* out) {
  if (axis.keeps_size()) return take_columns(image, axis, out);
  scratch.passes.across({image.data, image.stride, image.width, image.height, out, row_bytes(axis.outputs())},
                        scratch.across, scratch.packed);
}

void pass_down(ResizeScratch& scratch, const ImageView& image, std::uint8_t* out) {
  const std::size_t bytes = row_bytes(image.width);
  scratch.passes.down({image.data, image.stride, bytes, out, bytes}, scratch.down, scratch.packed);
}

void resample(ResizeScratch& scratch, const ImageView& image, const Plan& plan, std::uint8_t* out) {
  if (!plan.across.keeps_size()) scratch.across.make(plan.across, plan.kernel);
  if (plan.down.keeps_size()) {
    return pass_across(scratch, image.part({0, plan.down.first_out, image.width, plan.down.outputs()}), plan.across,
                       out);
  }
  scratch.down.make(plan.down, plan.kernel);
  const bool copies = plan.across.keeps_size() && !plan.across.mirrored;
  if (copies)
    return pass_down(scratch, image.part({plan.across.first_out, 0, plan.across.outputs(), image.height}), out);

  if (plan.down_first) {
    const std::size_t stride = row_bytes(image.width);
    std::uint8_t* rows = rows_for(scratch, plan.down.outputs(), stride);
    pass_down(scratch, image, rows);
    return pass_across(scratch, {rows, stride, image.width, plan.down.outputs()}, plan.across, out);
  }
  // Only the rows that the vertical taps need.
  const int first = scratch.down.first_in(), end = scratch.down.end_in();
  for (int& row : scratch.down.first) row -= first;
  const std::size_t stride = row_bytes(plan.across.outputs());
  std::uint8_t* rows = rows_for(scratch, end - first, stride);
  pass_across(scratch, image.part({0, first, image.width, end - first}), plan.across, rows);
  pass_down(scratch, {rows, stride, plan.across.outputs(), end - first}, out);
}

void check_output(int width, int height) {
  invariant(width > 0 && height > 0, "resize to ", width, " x ", height, " pixels");
}

bool is_integral(float value) { return value == std::floor(value); }

}  // namespace

Resizer::Resizer() : Resizer(resize_passes().back()) {}
Resizer::Resizer(const ResizePasses& passes) : scratch_(std::make_unique<ResizeScratch>(passes)) {}
Resizer::~Resizer() = default;
Resizer::Resizer(Resizer&&) noexcept = default;
Resizer& Resizer::operator=(Resizer&&) noexcept = default;

void Resizer::resize(const ImageView& image, const ResizeSpec& spec, std::uint8_t* out) {
  check_output(spec.width, spec.height);
  Axis across = Axis::whole(image.width, spec.width);
  across.mirrored = spec.mirrored;
  resample(*scratch_, image,
           {across, Axis::whole(image.height, spec.height), spec.kernel,
            is_down_first(spec.order, image, spec.width, spec.height)},
           out);
}

void Resizer::resize_region(const ImageView& image, const Region& region, const ResizeSpec& spec, std::uint8_t* out) {
  check_output(spec.width, spec.height);
  invariant(region.left >= 0 && region.top >= 0 && region.left < region.right && region.top < region.bottom &&
                region.right <= static_cast<float>(image.width) && region.bottom <= static_cast<float>(image.height),
            "resize of a region outside an image of ", image.width, " x ", image.height);
  if (is_integral(region.left) && is_integral(region.top) &&
      region.right - region.left == static_cast<float>(spec.width) &&
      region.bottom - region.top == static_cast<float>(spec.height)) {
    const Box box{static_cast<int>(region.left), static_cast<int>(region.top), spec.width, spec.height};
    return spec.mirrored ? mirror(image.part(box), out) : copy(image.part(box), out);
  }
  Axis across{image.width, region.left, region.right, spec.width, 0, spec.width, spec.mirrored};
  if (spec.mirrored) {
    across.low = static_cast<float>(image.width) - region.right;
    across.high = static_cast<float>(image.width) - region.left;
  }
  resample(*scratch_, image,
           {across,
            {image.height, region.top, region.bottom, spec.height, 0, spec.height},
            spec.kernel,
            is_down_first(spec.order, image, spec.width, spec.height)},
           out);
}

void Resizer::resize_window(const ImageView& image, const ResizeSpec& spec, const Box& window, std::uint8_t* out) {
  check_output(spec.width, spec.height);
  invariant(!spec.mirrored && holds(spec.width, spec.height, window), "window of ", window.width, " x ", window.height,
            " at (", window.left, ", ", window.top, ") outside ", spec.width, " x ", spec.height);
  Axis across = Axis::whole(image.width, spec.width);
  Axis down = Axis::whole(image.height, spec.height);
  across.first_out = window.left;
  across.end_out = window.left + window.width;
  down.first_out = window.top;
  down.end_out = window.top + window.height;
  resample(*scratch_, image, {across, down, spec.kernel, is_down_first(spec.order, image, spec.width, spec.height)},
           out);
}

Image resized_crop(const Image& image, const Box& box, int out_width, int out_height, Kernel kernel, PassOrder order) {
  check_output(out_width, out_height);
  invariant(holds(image.width, image.height, box), "crop of ", box.width, " x ", box.height, " at (", box.left, ", ",
            box.top, ") outside an image of ", image.width, " x ", image.height);
  Image out(out_width, out_height);
  Resizer().resize(ImageView(image).part(box), {out_width, out_height, kernel, order}, out.pixels.data());
  return out;
}

Image resize(const Image& image, int out_width, int out_height, Kernel kernel, PassOrder order) {
  return resized_crop(image, {0, 0, image.width, image.height}, out_width, out_height, kernel, order);
}

Image shrunk(Image image, int side) {
  const int short_side = std::min(image.width, image.height);
  if (short_side <= side) return image;
  const auto scaled = [&](int length) {  // rounded
    const std::int64_t twice = std::int64_t{2} * length * side + short_side;
    return std::max(1, static_cast<int>(twice / (std::int64_t{2} * short_side)));
  };
  return resize(image, scaled(image.width), scaled(image.height), Kernel::kBicubic);
}

Image resize_region(const Image& image, const Region& region, int out_width, int out_height, Kernel kernel,
                    PassOrder order) {
  check_output(out_width, out_height);
  Image out(out_width, out_height);
  Resizer().resize_region(image, region, {out_width, out_height, kernel, order}, out.pixels.data());
  return out;
}

Image resized_window(const Image& image, int width, int height, const Box& window, Kernel kernel, PassOrder order) {
  check_output(width, height);
  invariant(holds(width, height, window), "window of ", window.width, " x ", window.height, " at (", window.left, ", ",
            window.top, ") outside ", width, " x ", height);
  Image out(window.width, window.height);
  Resizer().resize_window(image, {width, height, kernel, order}, window, out.pixels.data());
  return out;
}

}  // namespace lacuna
