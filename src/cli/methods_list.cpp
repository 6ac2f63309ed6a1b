#include <iostream>

#include "cli/commands.h"
#include "cli/run_config.h"
#include "methods/methods.h"

namespace lacuna {
namespace {

std::vector<std::string> cells_of(const MethodRow& row) {
  std::vector<std::string> cells;
  size_t begin = 0;
  const std::string all(row.cells);
  for (size_t bar = all.find(" | "); bar != std::string::npos; bar = all.find(" | ", begin)) {
    cells.push_back(all.substr(begin, bar - begin));
    begin = bar + 3;
  }
  cells.push_back(all.substr(begin));
  return cells;
}

void print_markdown() {
  std::cout << "| method | mask | encode | complete | teacher -> normalize @ region -> head -> loss "
               "|\n|---|---|---|---|---|\n";
  for (const MethodRow& row : methods()) {
    std::cout << "| `" << row.name << "` ";
    for (const std::string& cell : cells_of(row)) std::cout << "| " << cell << " ";
    std::cout << "|\n";
  }
}

void print_one(const MethodRow& row) {
  static const char* const kNames[] = {"mask", "encode", "complete", "objective"};
  std::cout << row.title << "\nsource    " << row.source << "\n";
  const auto cells = cells_of(row);
  for (size_t i = 0; i < cells.size(); ++i) std::printf("%-9s %s\n", kNames[i], cells[i].c_str());
  std::cout << "\ndefaults for model=base:\n" << to_toml(default_run(std::string(row.name), "base"));
}

}  // namespace

int methods_command(Arguments arguments) {
  if (!arguments.empty() && arguments[0] == "--markdown") {
    print_markdown();
  } else if (!arguments.empty()) {
    print_one(method(arguments[0]));
  } else {
    for (const MethodRow& row : methods())
      std::cout << row.name << ": " << row.title << "\n  " << row.cells << "\n  " << row.source << "\n";
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
