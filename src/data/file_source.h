#pragma once
// Images that are files of their own: found below a folder (folder_listing.h) or named by a list (list_file.h).

#include "data/table_source.h"

namespace lacuna {

class FileSource final : public TableSource {
 public:
  explicit FileSource(SampleTable table, std::vector<std::string> caption_templates = {}, DecodeLimits limits = {})
      : TableSource(std::move(table), std::move(caption_templates), limits) {}

  std::string name(std::int64_t index) const override;
  bool encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const override;
};

}  // namespace lacuna
