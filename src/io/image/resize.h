#pragma once
// Antialiased resampling, bit-equal to Pillow's 8-bit `resize`.
//
// Two passes with 22-bit weights and 8 bits in between, so their order shows in the result. Which instructions compute
// them does not: every variant of the passes (resize_passes.h) gives the same bytes.

#include <memory>

#include "io/image/image.h"
#include "io/image/image_view.h"

namespace lacuna {

enum class Kernel { kBox, kBilinear, kHamming, kBicubic, kLanczos };

// Which pass comes first.
enum class PassOrder {
  kClassic,   // horizontal, always: every Pillow up to 12.3, behind all published results
  kPillow13,  // vertical, where the height shrinks by more than twice what the width does; horizontal elsewhere
};

// A source region with fractional edges, in pixels.
struct Region {
  float left = 0, top = 0, right = 0, bottom = 0;
};

struct ResizeSpec {
  int width = 0, height = 0;  // of the result
  Kernel kernel = Kernel::kBicubic;
  PassOrder order = PassOrder::kClassic;
  bool mirrored = false;  // the result of mirroring the source left to right first
};

struct ResizePasses;
struct ResizeScratch;

// Resizes without allocating once its buffers have grown to the largest image met. For one thread at a time.
class Resizer {
 public:
  Resizer();
  explicit Resizer(const ResizePasses& passes);
  ~Resizer();
  Resizer(Resizer&&) noexcept;
  Resizer& operator=(Resizer&&) noexcept;

  // The whole view, as if nothing lay around it, into rows of 3 * spec.width bytes at `out`.
  void resize(const ImageView& image, const ResizeSpec& spec, std::uint8_t* out);

  // Pillow's `resize(box=...)`: samples the region, and pixels of the image just outside it contribute at its edges.
  // The region must lie inside the image and must not be empty. Mirrored, it is the same region of the mirrored image.
  void resize_region(const ImageView& image, const Region& region, const ResizeSpec& spec, std::uint8_t* out);

  // `resize`, then a crop to `window`, without making the pixels outside it: rows of 3 * window.width bytes. The window
  // must lie inside spec.width x spec.height. Not mirrored.
  void resize_window(const ImageView& image, const ResizeSpec& spec, const Box& window, std::uint8_t* out);

 private:
  std::unique_ptr<ResizeScratch> scratch_;
};

// One image, with buffers of its own.

// Crops to `box` first, then resizes the crop alone, as torchvision's `resized_crop`: no pixel outside the box
// contributes. The box must lie inside the image.
Image resized_crop(const Image& image, const Box& box, int out_width, int out_height, Kernel kernel,
                   PassOrder order = PassOrder::kClassic);
Image resize(const Image& image, int out_width, int out_height, Kernel kernel, PassOrder order = PassOrder::kClassic);
// With its short side at most `side`, by the bicubic kernel; the image itself where it is no larger.
Image shrunk(Image image, int side);
Image resize_region(const Image& image, const Region& region, int out_width, int out_height, Kernel kernel,
                    PassOrder order = PassOrder::kClassic);
Image resized_window(const Image& image, int width, int height, const Box& window, Kernel kernel,
                     PassOrder order = PassOrder::kClassic);

}  // namespace lacuna
