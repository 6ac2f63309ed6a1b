#include "base/config_mistakes.h"

#include "base/error.h"

namespace lacuna {
namespace {

constexpr std::size_t kMostShown = 10;
constexpr std::size_t kLongestShown = 80;

}  // namespace

void Mistakes::add(const Origin& where, const std::string& key, const std::function<std::string()>& sentence) {
  if (++count_ > kMostShown) return;
  lines_.push_back(text(where.str(), ": ", key.empty() ? "" : shown(key) + ": ", sentence()));
}

void Mistakes::throw_if_any() const {
  if (count_ == 0) return;
  if (count_ == 1) throw Error(lines_.front());
  std::string all = text(count_, " mistakes in the settings:");
  for (const std::string& line : lines_) all += "\n  " + line;
  if (count_ > kMostShown) all += text("\n  and ", count_ - kMostShown, " more");
  throw Error(all);
}

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool starts_letter = (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (out.size() >= kLongestShown && starts_letter) return out + "…";
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return out;
}

std::string shown(const ConfigValue& value) {
  const double* number = value.as<double>();
  if (number && *number != *number) return "nan";
  if (number && *number - *number != 0) return *number > 0 ? "inf" : "-inf";
  if (value.as<ConfigValue::List>() && !value.raw.empty()) return shown(value.raw);
  if (value.as<ConfigValue::List>() || value.as<ConfigValue::Table>()) {
    const bool is_list = value.as<ConfigValue::List>() != nullptr;
    const std::size_t size = is_list ? value.as<ConfigValue::List>()->size() : value.as<ConfigValue::Table>()->size();
    std::string inside;
    for (std::size_t i = 0; i < size && inside.size() <= kLongestShown; ++i) {
      inside += i == 0 ? "" : ", ";
      if (is_list) {
        inside += shown((*value.as<ConfigValue::List>())[i]);
      } else {
        const ConfigEntry& entry = (*value.as<ConfigValue::Table>())[i];
        inside += shown(entry.name) + " = " + shown(entry.value);
      }
    }
    return is_list ? "[" + shown(inside) + "]" : "{" + shown(inside) + "}";
  }
  return shown(std::string_view(to_text(value)));
}

}  // namespace lacuna
