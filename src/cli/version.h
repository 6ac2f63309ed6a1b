#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lacuna {

std::string version_text();     // "0.1.0 (revision, build)"
nlohmann::json version_json();  // of everything a result may depend on

}  // namespace lacuna
