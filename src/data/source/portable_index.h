#pragma once
// The index that lies beside shards and moves with them: index.lacuna.
//
// It counts while every archive it names has the size it had. Times are not looked at, since a copy changes them; what
// an entry says is checked against the file when it is read.

#include <filesystem>
#include <optional>
#include <string>

#include "data/source/sample_table.h"

namespace lacuna {

inline constexpr const char* kPortableIndex = "index.lacuna";

void write_portable_index(const std::filesystem::path& folder, const SampleTable& table);

// Nothing where there is none, or where it does not fit; then `note` says so.
std::optional<SampleTable> read_portable_index(const std::filesystem::path& folder, std::string& note);

}  // namespace lacuna
