#include "data/source/archive_source.h"

#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

constexpr std::size_t kMaxOpen = 256;  // below the 1024 descriptors that a process usually has

}  // namespace

ArchiveSource::ArchiveSource(SampleTable table, std::vector<std::filesystem::path> files,
                             std::vector<std::string> caption_templates, DecodeLimits limits, DecodeOptions decode)
    : TableSource(std::move(table), std::move(caption_templates), limits, std::move(decode)),
      files_(std::move(files)),
      open_(files_.size()) {
  invariant(files_.size() == this->table().archives.size(), "ArchiveSource: ", files_.size(), " files");
  for (const std::filesystem::path& file : files_) stamps_.push_back(stamp_of(file));
  for (const std::string& archive : this->table().archives) names_.push_back((this->table().root / archive).string());
}

std::uint64_t ArchiveSource::stamp() const {
  std::vector<std::uint64_t> parts{fingerprint()};
  for (const auto& stamp : stamps_) {
    parts.push_back(stamp ? stamp->size : 0);
    parts.push_back(stamp ? static_cast<std::uint64_t>(stamp->modified_ns) : 0);
  }
  return content_hash64(std::as_bytes(std::span(parts)));
}

void ArchiveSource::append_name(std::size_t sample, std::string& name) const {
  name += names_[table().extents[sample].archive];
  name += ':';
  name += table().names[sample];
}

void ArchiveSource::read(std::size_t sample, const std::string& name, std::vector<std::uint8_t>& bytes) const {
  const Extent& extent = table().extents[sample];
  if (const std::string_view fault = table().fault(sample); !fault.empty()) fail_data(name, ": ", fault);
  if (extent.size > max_bytes()) fail_data(name, ": has ", extent.size, " bytes, more than the limit of ", max_bytes());
  try {
    const auto file = opened(extent.archive);
    const FileStamp stamp = file->stamp();
    if (stamp != stamps_[extent.archive])
      fail_data("the archive was changed while it was in use; its index no longer holds");
    if (extent.size > stamp.size || extent.offset > stamp.size - extent.size)
      fail_data("the index places it beyond the end of the archive; remove the index and try again");
    bytes.resize(static_cast<std::size_t>(extent.size));
    file->read(extent.offset, std::as_writable_bytes(std::span(bytes)));
  } catch (const Error& error) {
    fail_data(name, ": ", error.what());
  }
}

std::shared_ptr<const PositionedFile> ArchiveSource::opened(std::size_t archive) const {
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
