// SPDX-License-Identifier: MIT
// `ktstr selftests`. Host side.
#pragma once

#include <CLI/CLI.hpp>

namespace ktstr::tool {

void add_selftests_command(CLI::App& app, int& status);

}  // namespace ktstr::tool
