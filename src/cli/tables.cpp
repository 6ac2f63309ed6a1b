#include "cli/tables.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace lacuna {
namespace {

std::string printed(const char* format, double value) {
  std::array<char, 64> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}

}  // namespace

std::string aligned(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                    std::size_t left) {
  std::vector<std::size_t> widths;
  for (const std::string& cell : head) widths.push_back(cell.size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - row[i].size(), ' ');
      line += (i > 0 ? "  " : "") + (i < left ? row[i] + gap : gap + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add(head);
  for (const auto& row : rows) add(row);
  return out;
}

std::string short_number(double value) { return printed("%.4g", value); }

std::string percent(double share) { return printed("%.1f %%", 100 * share); }

}  // namespace lacuna
