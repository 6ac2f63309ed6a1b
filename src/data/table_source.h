#pragma once
// What sources that read files have in common: everything but where the bytes of a sample come from.

#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_table.h"
#include "data/source.h"
#include "io/image.h"

namespace lacuna {

class TableSource : public Source {
 public:
  // `caption_templates` ("a photo of a {}.", where {} stands for the class's name) serve labelled samples that bring no
  // caption of their own; without templates those have none. Throws Error when the table is empty or a template lacks
  // its {}.
  //
  // Class names: a file classes.tsv in the root or in the folder above it, with the columns `wnid` (or `dir`) and
  // `name`, translates the names it lists; others stay as they are.
  TableSource(SampleTable table, std::vector<std::string> caption_templates, DecodeLimits limits);

  std::int64_t size() const override { return static_cast<std::int64_t>(table_.size()); }
  Image image(std::int64_t index) const override;
  std::int64_t label(std::int64_t index) const override;
  std::string caption(std::int64_t index, Rng& rng) const override;
  std::vector<std::string> captions(std::int64_t index) const override;
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return fingerprint_; }

 protected:
  std::size_t checked(std::int64_t index) const;
  const SampleTable& table() const { return table_; }
  const DecodeLimits& limits() const { return limits_; }

  // Refuses more bytes than the limit before they are allocated.
  void check_size(std::uint64_t bytes, const std::string& name) const;

 private:
  SampleTable table_;
  std::vector<std::string> classes_;
  std::vector<std::string> templates_;
  DecodeLimits limits_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace lacuna
