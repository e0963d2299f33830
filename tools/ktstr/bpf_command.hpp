// SPDX-License-Identifier: MIT
// `ktstr bpf build|tools`: programs of sched_ext schedulers from their BPF sources. Host side.
#pragma once

#include <CLI/CLI.hpp>

namespace ktstr::tool {

void add_bpf_command(CLI::App& app, int& status);

}  // namespace ktstr::tool
