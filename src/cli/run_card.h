#pragma once
// The model card of a run's own export (cli/export_card.h).

#include <filesystem>

#include "nn/backbone.h"

namespace lacuna {

// `folder` was written by export_student for the run at `out`, whose last checkpoint is there.
void write_run_card(const std::filesystem::path& folder, const std::filesystem::path& out, const Backbone& student);

}  // namespace lacuna
