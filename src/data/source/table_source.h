#pragma once
// What sources that read files have in common: everything but where the bytes of a sample come from.

#include <cstdint>
#include <string>
#include <vector>

#include "data/source/sample_table.h"
#include "data/source/source.h"
#include "io/image/image.h"

namespace lacuna {

class TableSource : public Source {
 public:
  // `caption_templates` ("a photo of a {}.", where {} stands for the class's name) serve labelled samples that bring no
  // caption of their own; without templates those have none. Throws Error when the table is empty or a template lacks
  // its {}.
  //
  // Class names: a file classes.tsv in the root or in the folder above it, with the columns `wnid` (or `dir`) and
  // `name`, translates the names it lists; others stay as they are.
  TableSource(SampleTable table, std::vector<std::string> caption_templates, DecodeLimits limits, DecodeOptions decode);

  std::int64_t size() const override { return static_cast<std::int64_t>(table_.size()); }
  std::string name(std::int64_t index) const final;
  Image image(std::int64_t index) const final;
  int spectrum() const final { return static_cast<int>(decode_.spectrum.size()); }
  Sheets sheets(std::int64_t index) const final;
  bool encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const final;
  void open(std::int64_t index, ImageReader& reader) const final;
  std::int64_t label(std::int64_t index) const override;
  std::string caption(std::int64_t index, Rng& rng) const override;
  std::vector<std::string> captions(std::int64_t index) const override;
  const std::vector<std::string>& classes() const override { return classes_; }
  std::uint64_t fingerprint() const override { return fingerprint_; }

 protected:
  std::size_t checked(std::int64_t index) const;
  const SampleTable& table() const { return table_; }
  std::uint64_t max_bytes() const { return static_cast<std::uint64_t>(limits_.max_file_bytes); }

  // What a source adds: the sample's name, and its bytes. `name` is that for messages, `bytes` keeps its capacity, and
  // neither call allocates once they have grown: the loader makes them for every sample. Throws Error(kBadData) for
  // what cannot be read and for more than max_bytes(), before they are allocated.
  virtual void append_name(std::size_t sample, std::string& name) const = 0;
  virtual void read(std::size_t sample, const std::string& name, std::vector<std::uint8_t>& bytes) const = 0;

 private:
  SampleTable table_;
  std::vector<std::string> classes_;
  std::vector<std::string> templates_;
  DecodeLimits limits_;
  DecodeOptions decode_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace lacuna
