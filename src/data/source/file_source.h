#pragma once
// Images that are files of their own: found below a folder (folder_listing.h) or named by a list (list_file.h).

#include "data/source/table_source.h"

namespace lacuna {

class FileSource final : public TableSource {
 public:
  explicit FileSource(SampleTable table, std::vector<std::string> caption_templates = {}, DecodeLimits limits = {},
                      DecodeOptions decode = {})
      : TableSource(std::move(table), std::move(caption_templates), limits, std::move(decode)) {}

  std::uint64_t stamp() const override;

 protected:
  void append_name(std::size_t sample, std::string& name) const override;  // its path
  void read(std::size_t sample, const std::string& name, std::vector<std::uint8_t>& bytes) const override;
};

}  // namespace lacuna
