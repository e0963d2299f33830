// SPDX-License-Identifier: MIT
// `ktstr smoke`: schedulers under a mixed load, on kernels and topologies. Host side.
#pragma once

#include <CLI/CLI.hpp>

namespace ktstr::tool {

void add_smoke_command(CLI::App& app, int& status);

}  // namespace ktstr::tool
