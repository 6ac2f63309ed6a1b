#pragma once
// Images that are members of tar archives, read in place (archive_listing.h).

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/source/table_source.h"
#include "io/positioned_file.h"

namespace lacuna {

class ArchiveSource final : public TableSource {
 public:
  // `files`: where each of the table's archives lies as a plain tar. An archive that is changed afterwards gives
  // Error(kBadData) for its samples; one that is deleted or replaced under its name is read on, where it is open.
  ArchiveSource(SampleTable table, std::vector<std::filesystem::path> files,
                std::vector<std::string> caption_templates = {}, DecodeLimits limits = {}, DecodeOptions decode = {});

  std::uint64_t stamp() const override;  // of the archives as they were when it was opened

 protected:
  void append_name(std::size_t sample, std::string& name) const override;  // "train.tar:cat/1.jpg"
  void read(std::size_t sample, const std::string& name, std::vector<std::uint8_t>& bytes) const override;

 private:
  std::shared_ptr<const PositionedFile> opened(std::size_t archive) const;

  std::vector<std::filesystem::path> files_;
  std::vector<std::string> names_;  // of the archives, for messages
  std::vector<std::optional<FileStamp>> stamps_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::vector<std::shared_ptr<const PositionedFile>> open_;
  mutable std::deque<std::size_t> opened_;  // the oldest first
};

}  // namespace lacuna
