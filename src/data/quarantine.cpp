#include "data/quarantine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace lacuna {
namespace {

// Names may hold any bytes, JSON holds UTF-8 only: what is not becomes U+FFFD, the same way each time.
std::string as_json(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Quarantine::Quarantine(std::filesystem::path list, std::int64_t source_size, double max_bad_share)
    : list_(std::move(list)), source_size_(source_size), max_bad_share_(max_bad_share) {
  check(max_bad_share >= 0 && max_bad_share <= 1, "data.max_bad_share: expected a share in [0, 1], found ",
        max_bad_share);
  if (!list_.empty()) load();
}

void Quarantine::load() {
  std::ifstream file(list_);
  std::string line;
  while (std::getline(file, line)) {
    torn_ = file.eof();
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object() && entry.contains("name")) listed_.insert(as_json(entry["name"]));
  }
}

void Quarantine::add(std::int64_t id, const std::string& name, const std::string& reason) {
  const std::string key = as_json(name);
  const std::lock_guard lock(mutex_);
  if (!met_.insert(key).second) return;
  if (!list_.empty() && listed_.insert(key).second) {
    append(as_json(nlohmann::ordered_json{{"id", id}, {"name", name}, {"reason", reason}}) + '\n');
  }
  const double allowed = std::max(1.0, max_bad_share_ * static_cast<double>(source_size_));
  if (static_cast<double>(met_.size()) <= allowed) return;
  fail_data(met_.size(), " of ", source_size_,
            " samples could not be decoded, more than data.max_bad_share = ", max_bad_share_, " allows (",
            static_cast<std::int64_t>(allowed), "). The last: ", reason, ". ",
            list_.empty() ? "No list of them was asked for" : text("All of them are named in ", list_.string()),
            ". Repair or remove them, or raise data.max_bad_share");
}

// One write in append mode: a killed run loses at most the end of its own line.
void Quarantine::append(const std::string& line) {
  if (list_.has_parent_path()) {
    std::error_code reported_below;
    std::filesystem::create_directories(list_.parent_path(), reported_below);
  }
  const std::string bytes = std::exchange(torn_, false) ? '\n' + line : line;
  const int file = ::open(list_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const bool written = file >= 0 && ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  const std::error_code code(errno, std::generic_category());
  if (file >= 0) ::close(file);
  check(written, list_.string(), ": the list of bad samples cannot be written (", code.message(),
        "); check the folder's permissions and the free space");
}

std::int64_t Quarantine::met() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(met_.size());
}

}  // namespace lacuna
