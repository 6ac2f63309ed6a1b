#include "data/archive_source.h"

#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

constexpr std::size_t kMaxOpen = 256;  // below the 1024 descriptors that a process usually has

}  // namespace

ArchiveSource::ArchiveSource(SampleTable table, std::vector<std::filesystem::path> files,
                             std::vector<std::string> caption_templates, DecodeLimits limits)
    : TableSource(std::move(table), std::move(caption_templates), limits),
      files_(std::move(files)),
      open_(files_.size()) {
  invariant(files_.size() == this->table().archives.size(), "ArchiveSource: ", files_.size(), " files");
  for (const std::filesystem::path& file : files_) stamps_.push_back(stamp_of(file));
}

std::string ArchiveSource::name(std::int64_t index) const {
  const std::size_t sample = checked(index);
  const std::string& archive = table().archives[table().extents[sample].archive];
  return (table().root / archive).string() + ':' + std::string(table().names[sample]);
}

bool ArchiveSource::encoded(std::int64_t index, std::vector<std::uint8_t>& bytes) const {
  const std::size_t sample = checked(index);
  const Extent& extent = table().extents[sample];
  if (const std::string_view fault = table().fault(sample); !fault.empty()) fail_data(name(index), ": ", fault);
  check_size(extent.size, name(index));
  try {
    const auto file = open(extent.archive);
    const FileStamp stamp = file->stamp();
    if (stamp != stamps_[extent.archive])
      fail_data("the archive was changed while it was in use; its index no longer holds");
    if (extent.size > stamp.size || extent.offset > stamp.size - extent.size)
      fail_data("the index places it beyond the end of the archive; remove the index and try again");
    bytes.resize(static_cast<std::size_t>(extent.size));
    file->read(extent.offset, std::as_writable_bytes(std::span(bytes)));
  } catch (const Error& error) {
    fail_data(name(index), ": ", error.what());
  }
  return true;
}

std::shared_ptr<const PositionedFile> ArchiveSource::open(std::size_t archive) const {
  {
    const std::lock_guard lock(mutex_);
    if (open_[archive]) return open_[archive];
  }
  auto file = std::make_shared<const PositionedFile>(files_[archive]);  // outside the lock: it may take long
  const std::lock_guard lock(mutex_);
  if (open_[archive]) return open_[archive];
  if (opened_.size() >= kMaxOpen) {
    open_[opened_.front()].reset();
    opened_.pop_front();
  }
  opened_.push_back(archive);
  return open_[archive] = std::move(file);
}

}  // namespace lacuna
