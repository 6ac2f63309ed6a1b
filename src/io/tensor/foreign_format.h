#pragma once
// Files that people take for files of weights, told by their first bytes.

#include <cstddef>
#include <span>
#include <string>

namespace lacuna {

// Error(kBadData) that says what the file is and what to do, if it begins like a known format that is not read here:
// torch files from before 1.6 and other pickles, archives, arrays of numpy, pages and pointers that a download left.
void refuse_foreign_format(std::span<const std::byte> bytes, const std::string& file);

}  // namespace lacuna
