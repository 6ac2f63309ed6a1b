#pragma once
// The views of one sample: for each crop that they ask for, jitter on the whole image, flip and one box, then one
// resize per view, then what finish.h does. A pure function of its arguments: each draw has a stream named by seed,
// purpose, epoch, crop and sample.
//
// Draws need the image's size only, so they come before the pixels, and of a JPEG no more is decoded than the boxes
// cover. Jitter is the exception: its contrast needs the mean of the whole image.

#include <cstdint>
#include <span>
#include <vector>

#include "data/view/augment.h"
#include "data/view/finish.h"
#include "data/view/view.h"
#include "io/image/image_reader.h"
#include "io/image/resize.h"

namespace lacuna {

// What is drawn for one crop.
struct CropDraw {
  bool mirrored = false;
  ColorJitter jitter;
  Box box;  // in the image as it is stored; RandomResizedCrop's own is that of the mirrored image
  Finish finish;
};

CropDraw draw_view_crop(int width, int height, const AugmentConfig& config, std::uint64_t seed, std::uint64_t epoch,
                        std::uint64_t sample);

// With buffers that are kept from sample to sample; for one thread at a time.
class ViewRenderer {
 public:
  // View i goes to out[i] as [side, side, channels]. A spectrum has no jitter and no grayscale: they are of colours.
  // `epoch` counts from 0; crops name theirs by crop_epoch. Throws
  // Error(kBadData) when the pixels cannot be decoded; what lies at `out` is then undefined.
  void render(ImageReader& image, const AugmentConfig& config, std::span<const ViewSpec> views, std::uint64_t seed,
              std::uint64_t epoch, std::uint64_t sample, std::span<std::uint8_t* const> out);

 private:
  int reduction_for(const ImageReader& image, std::span<const ViewSpec> views) const;
  void render_part(ImageReader& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                   std::span<std::uint8_t* const> out);
  void render_jittered(ImageReader& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                       std::span<std::uint8_t* const> out);
  // All views of one crop, from the pixels that its box covers.
  void resize_views(const ImageView& pixels, int crop, const AugmentConfig& config, std::span<const ViewSpec> views,
                    std::span<std::uint8_t* const> out);

  void render_spectrum(const ImageReader& image, const ViewSpec& view, const AugmentConfig& config, int widest,
                       std::uint8_t* out);
  void finish_views(int crop, std::span<const ViewSpec> views, std::span<std::uint8_t* const> out);

  Resizer resizer_;
  std::vector<CropDraw> draws_;  // [crops]
  int reduction_ = 1;            // of the sample at hand, by its decoder
  Image jittered_;
  Image finished_;
  Sheets spectrum_;
};

// The same for an image in memory.
std::vector<Image> render_views(const Image& image, const AugmentConfig& config, std::span<const ViewSpec> views,
                                std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample);

}  // namespace lacuna
