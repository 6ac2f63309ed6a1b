#pragma once
// `lacuna data show`: samples as a run would see them, on one contact sheet.

#include "cli/commands.h"

namespace lacuna {

int data_show(Arguments arguments);

}  // namespace lacuna
