#include <iostream>

#include "cli/commands.h"
#include "cli/run_config.h"
#include "methods/methods.h"

namespace lacuna {
namespace {

// What a row does at the usual size.
Cells cells_of_row(const MethodRow& row) { return cells_of(recipe_of(row.name, "base").composition); }

std::string join(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

void print_markdown() {
  std::cout
      << "| method | mask | encode | complete | objectives: teacher -> normalize @ region -> head -> loss | settings "
         "from |\n|---|---|---|---|---|---|\n";
  for (const MethodRow& row : methods()) {
    const Cells cells = cells_of_row(row);
    std::cout << "| `" << row.name << "` | " << cells.mask << " | " << cells.encode << " | " << cells.complete << " | "
              << join(cells.objectives, "; ") << " | " << name_of(kConfidences, row.confidence) << " |\n";
  }
}

void print_cells(const Cells& cells, const char* indent) {
  std::cout << indent << "mask      " << cells.mask << "\n"
            << indent << "encode    " << cells.encode << "\n"
            << indent << "complete  " << cells.complete << "\n";
  for (const std::string& objective : cells.objectives) std::cout << indent << "objective " << objective << "\n";
}

void print_one(const std::string& name) {
  const MethodRow row = method(name);
  std::cout << row.title << "\n\nsource    " << row.source << "\nsettings  " << name_of(kConfidences, row.confidence)
            << ": " << named(kConfidences, row.confidence).help << "\n";
  print_cells(cells_of_row(row), "");
  for (const std::string& note : row.notes) std::cout << "note      " << note << "\n";
  std::cout << "\ndefaults for model=base:\n" << to_toml(default_run(row.name, "base"));
}

}  // namespace

int methods_command(Arguments arguments) {
  if (!arguments.empty() && arguments[0] == "--markdown") {
    print_markdown();
  } else if (!arguments.empty()) {
    print_one(arguments[0]);
  } else {
    for (const MethodRow& row : methods()) {
      std::cout << row.name << ": " << row.title << "\n";
      print_cells(cells_of_row(row), "  ");
    }
    std::cout << "\nlacuna methods NAME explains one; a row of your own is a .toml file (docs/adding-a-method.md)\n";
  }
  return 0;
}

int config_command(Arguments arguments) {
  std::string key;
  if (!arguments.empty() && arguments[0].find('=') == std::string::npos && !arguments[0].ends_with(".toml")) {
    key = arguments[0];
    arguments = arguments.subspan(1);
  }
  std::cout << describe(parse_run(arguments), key);
  return 0;
}

}  // namespace lacuna
