#pragma once
// What a command was given, taken apart into words (paths, names) and settings.

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace lacuna {

struct CommandLine {
  std::vector<std::string> words;     // in the order given
  std::vector<std::string> settings;  // key=value, for Settings::override_with
};

// `key=value`, `--key=value` and `--key value` are settings; each of `flags` stands for true unless true or false
// follows.
// Everything else is a word, and so is everything after `--`; a path with '=' in it starts with '/' or '.'.
// Throws Error for a `--key` at the end that needs a value.
CommandLine split(Arguments arguments, std::initializer_list<std::string_view> flags = {});

}  // namespace lacuna
