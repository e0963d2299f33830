// SPDX-License-Identifier: MIT
// `ktstr verify`: what kernels' verifiers make of BPF programs. Host side.
#pragma once

#include <CLI/CLI.hpp>

namespace ktstr::tool {

void add_verify_command(CLI::App& app, int& status);

}  // namespace ktstr::tool
