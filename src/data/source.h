#pragma once
// A source maps an index to a sample. Implementations are immutable after construction and safe to call from many
// threads at once.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/image.h"
#include "io/image_reader.h"

namespace lacuna {

inline constexpr std::int64_t kNoLabel = -1;

class Source {
 public:
  virtual ~Source() = default;

  virtual std::int64_t size() const = 0;

  // A name for messages and the quarantine list (a path, or "shapes:17").
  virtual std::string name(std::int64_t index) const = 0;

  // The decoded image. Throws Error(kBadData) when it cannot be read or decoded.
  virtual Image image(std::int64_t index) const = 0;

  // The same for a reader, which then decodes what is wanted of it; faults in the pixels show there.
  virtual void open(std::int64_t index, ImageReader& reader) const { reader.hold(image(index)); }

  // Class in [0, classes().size()), or kNoLabel.
  virtual std::int64_t label(std::int64_t index) const = 0;

  // One caption, chosen by `rng` where there are several; empty when the source has none.
  virtual std::string caption(std::int64_t index, Rng& rng) const = 0;

  // Names of the classes; empty for unlabelled sources.
  virtual const std::vector<std::string>& classes() const = 0;

  // Changes when the list of samples changes; stored in checkpoints so that a resume notices.
  virtual std::uint64_t fingerprint() const = 0;
};

}  // namespace lacuna
