#pragma once
// Several sources as one: their samples one behind the other, with weights that the order of an epoch goes by
// (sampler.h).

#include <memory>
#include <string>
#include <vector>

#include "data/source/source.h"

namespace lacuna {

class MixedSource final : public Source {
 public:
  // `weights` has a positive number for each source, or none at all: then each sample counts the same. Labels are kept
  // where all sources have the same classes. Throws Error for weights that do not fit.
  MixedSource(std::vector<std::unique_ptr<Source>> sources, std::vector<double> weights);

  std::int64_t size() const override { return starts_.back(); }
  std::string name(std::int64_t index) const override;
  Image image(std::int64_t index) const override;
  int spectrum() const override;
  Sheets sheets(std::int64_t index) const override;
  bool encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const override;
  void open(std::int64_t index, ImageReader& reader) const override;
  std::int64_t label(std::int64_t index) const override;
  std::string caption(std::int64_t index, Rng& rng) const override;
  std::vector<std::string> captions(std::int64_t index) const override;
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override;
  std::uint64_t stamp() const override;
  std::vector<SourcePart> parts() const override;

 private:
  struct Place {
    const Source& source;
    std::int64_t index;
  };
  Place place(std::int64_t index) const;

  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<double> weights_;
  std::vector<std::int64_t> starts_;  // of each source, and the end of the last
  std::vector<std::string> classes_;
};

}  // namespace lacuna
