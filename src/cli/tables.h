#pragma once
// Tables and figures as commands print them.

#include <string>
#include <vector>

namespace lacuna {

// Columns padded to their widest cell and parted by two blanks, the first `left` of them to the left, the others to the
// right. Ends with a line end.
std::string aligned(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                    std::size_t left);

std::string short_number(double value);  // four significant digits: "-0.1234", "1.2e-07"
std::string percent(double share);       // "12.5 %"

}  // namespace lacuna
