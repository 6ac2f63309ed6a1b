#include "cli/command_line.h"

#include <algorithm>

#include "base/error.h"

namespace lacuna {
namespace {

bool is_setting(const std::string& word) {
  const size_t equals = word.find('=');
  return equals != std::string::npos && equals > 0 && word[0] != '/' && word[0] != '.';
}

}  // namespace

CommandLine split(Arguments arguments, std::initializer_list<std::string_view> flags) {
  CommandLine out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "--") {
      out.words.insert(out.words.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      return out;
    }
    const bool dashed = word.starts_with("--");
    const std::string key = dashed ? word.substr(2) : word;
    if (is_setting(key)) {
      out.settings.push_back(key);
    } else if (!dashed) {
      out.words.push_back(word);
    } else if (std::find(flags.begin(), flags.end(), key) != flags.end()) {
      const bool said = i + 1 < arguments.size() && (arguments[i + 1] == "true" || arguments[i + 1] == "false");
      out.settings.push_back(key + "=" + (said ? arguments[++i] : "true"));
    } else {
      check(i + 1 < arguments.size(), "--", key, ": expected a value after it");
      out.settings.push_back(key + "=" + arguments[++i]);
    }
  }
  return out;
}

}  // namespace lacuna
