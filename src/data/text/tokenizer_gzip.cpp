#include "data/text/tokenizer_gzip.h"

#include <system_error>

#include "base/error.h"
#include "io/unpack.h"

namespace lacuna {

std::string read_gzip(const std::filesystem::path& path, std::uint64_t max_file, std::uint64_t max_bytes) {
  std::error_code ignored;
  const std::uintmax_t size = std::filesystem::file_size(path, ignored);
  if (!ignored && size > max_file) fail_data(path.string(), ": expected at most ", max_file, " bytes, found ", size);
  std::string out;
  unpack(path, max_bytes, [&out](std::span<const std::byte> piece) {
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return out;
}

}  // namespace lacuna
