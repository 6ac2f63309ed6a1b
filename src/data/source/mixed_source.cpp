#include "data/source/mixed_source.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/rng.h"

namespace lacuna {

MixedSource::MixedSource(std::vector<std::unique_ptr<Source>> sources, std::vector<double> weights)
    : sources_(std::move(sources)), weights_(std::move(weights)), starts_{0} {
  invariant(!sources_.empty(), "MixedSource: of no source");
  check(weights_.empty() || weights_.size() == sources_.size(), "data.weights: expected a weight for each of the ",
        sources_.size(), " sources (data.path first, then data.also), found ", weights_.size());
  for (const double weight : weights_) check(weight > 0, "data.weights: expected positive numbers, found ", weight);
  const auto& first = sources_.front()->classes();
  if (std::all_of(sources_.begin(), sources_.end(), [&](const auto& source) { return source->classes() == first; }))
    classes_ = first;
  for (const auto& source : sources_) starts_.push_back(starts_.back() + source->size());
}

MixedSource::Place MixedSource::place(std::int64_t index) const {
  invariant(index >= 0 && index < size(), "MixedSource: index ", index, " of ", size());
  const auto next = std::upper_bound(starts_.begin(), starts_.end(), index);
  const auto source = static_cast<std::size_t>(next - starts_.begin()) - 1;
  return {*sources_[source], index - starts_[source]};
}

std::string MixedSource::name(std::int64_t index) const {
  const Place at = place(index);
  return at.source.name(at.index);
}

Image MixedSource::image(std::int64_t index) const {
  const Place at = place(index);
  return at.source.image(at.index);
}

int MixedSource::spectrum() const { return sources_[0]->spectrum(); }

Sheets MixedSource::sheets(std::int64_t index) const {
  const Place at = place(index);
  return at.source.sheets(at.index);
}

bool MixedSource::encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const {
  const Place at = place(index);
  return at.source.encoded(at.index, bytes);
}

void MixedSource::open(std::int64_t index, ImageReader& reader) const {
  const Place at = place(index);
  at.source.open(at.index, reader);
}

std::int64_t MixedSource::label(std::int64_t index) const {
  const Place at = place(index);
  return classes_.empty() ? kNoLabel : at.source.label(at.index);
}

std::string MixedSource::caption(std::int64_t index, Rng& rng) const {
  const Place at = place(index);
  return at.source.caption(at.index, rng);
}

std::vector<std::string> MixedSource::captions(std::int64_t index) const {
  const Place at = place(index);
  return at.source.captions(at.index);
}

std::uint64_t MixedSource::fingerprint() const {
  std::string parts;
  for (const auto& source : sources_) parts += std::to_string(source->fingerprint()) + '|';
  return hash_name(parts);
}

std::uint64_t MixedSource::stamp() const {
  std::string parts;
  for (const auto& source : sources_) parts += std::to_string(source->stamp()) + '|';
  return hash_name(parts);
}

std::vector<SourcePart> MixedSource::parts() const {
  std::vector<SourcePart> parts;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const std::int64_t size = sources_[i]->size();
    parts.push_back({size, weights_.empty() ? static_cast<double>(size) : weights_[i]});
  }
  return parts;
}

}  // namespace lacuna
