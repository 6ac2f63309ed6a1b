#pragma once
// A source maps an index to a sample. Implementations are immutable after construction and safe to call from many
// threads at once.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/image/image.h"
#include "io/image/image_reader.h"

namespace lacuna {

inline constexpr std::int64_t kNoLabel = -1;

// A run of samples that an epoch draws from by its own weight.
struct SourcePart {
  std::int64_t size = 0;
  double weight = 1;
};

class Source {
 public:
  virtual ~Source() = default;

  virtual std::int64_t size() const = 0;

  // A name for messages and the quarantine list (a path, or "shapes:17").
  virtual std::string name(std::int64_t index) const = 0;

  // The decoded image in red, green and blue. Throws Error(kBadData) when it cannot be read or decoded.
  virtual Image image(std::int64_t index) const = 0;

  // Channels that a network of other than three is shown; 0 where the images are RGB alone.
  virtual int spectrum() const { return 0; }

  // The image with its spectrum, the RGB one last. Throws as image() does.
  virtual Sheets sheets(std::int64_t index) const { return {image(index)}; }

  // The sample's file as it is stored, put into `bytes` (resized; its capacity is kept). False for sources that draw
  // their images; then image() is the only way. Throws Error(kBadData) when it cannot be read.
  virtual bool encoded([[maybe_unused]] std::int64_t index, [[maybe_unused]] std::vector<std::uint8_t>& bytes) const {
    return false;
  }

  // The same for a reader, which then decodes what is wanted of it; faults in the pixels show there.
  virtual void open(std::int64_t index, ImageReader& reader) const { reader.hold(sheets(index)); }

  // Class in [0, classes().size()), or kNoLabel.
  virtual std::int64_t label(std::int64_t index) const = 0;

  // One caption, chosen by `rng` where there are several; empty when the source has none.
  virtual std::string caption(std::int64_t index, Rng& rng) const = 0;

  // All captions the sample itself brings; empty where none are stored.
  virtual std::vector<std::string> captions([[maybe_unused]] std::int64_t index) const { return {}; }

  // Names of the classes; empty for unlabelled sources.
  virtual const std::vector<std::string>& classes() const = 0;

  // Changes when the list of samples changes; stored in checkpoints so that a resume notices.
  virtual std::uint64_t fingerprint() const = 0;

  // Changes also when the bytes behind the samples may have: goes by sizes and times of files, all of which it looks
  // at.
  virtual std::uint64_t stamp() const { return fingerprint(); }

  // What the source is mixed of, in the order of its samples.
  virtual std::vector<SourcePart> parts() const { return {{size(), 1.0}}; }
};

}  // namespace lacuna
