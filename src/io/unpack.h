#pragma once
// Undoes gzip and zstd compression of a whole file, piece by piece.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

namespace lacuna {

// Whether the name ends in .gz, .tgz, .zst or .tzst, in any case.
bool is_compressed_name(const std::filesystem::path& path);

// What the file says it unpacks to: zstd's frame header, or gzip's last four bytes (which wrap at 4 GiB and speak of
// the last stream alone). 0 where it says nothing. A hint for messages, never a bound.
std::uint64_t claimed_size(const std::filesystem::path& path);

// Hands the unpacked bytes over in pieces of at most 1 MiB and returns their number. Told apart by content; several
// streams one after the other count as one. Throws Error(kBadData) when the file is neither, is damaged or cut off, or
// unpacks to more than `max_bytes`.
std::uint64_t unpack(const std::filesystem::path& path, std::uint64_t max_bytes,
                     const std::function<void(std::span<const std::byte>)>& take);

}  // namespace lacuna
