#include "cli/version.h"

#include <torch/version.h>

#include <nlohmann/json.hpp>

#include "revision.h"

namespace lacuna {

std::string version_text() { return std::string(LACUNA_VERSION) + " (" + LACUNA_REVISION + ", " + LACUNA_BUILD + ")"; }

nlohmann::json version_json() {
  return {{"lacuna", LACUNA_VERSION},
          {"revision", LACUNA_REVISION},
          {"build", LACUNA_BUILD},
          {"libtorch", TORCH_VERSION},
          {"compiler", __VERSION__}};
}

}  // namespace lacuna
