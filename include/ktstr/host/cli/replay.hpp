// SPDX-License-Identifier: MIT
// The command that runs one cell again the way it ran: everything that decides how it comes out,
// whether it was an argument, a variable or a random choice.
// Host side.
#pragma once

#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/topology/topology.hpp>

#include <string>
#include <string_view>

namespace ktstr::host {

[[nodiscard]] inline std::string replay_command(const options& o, std::string_view cell_name) {
    std::string line;
    const auto set = [&](std::string_view variable, std::string_view value) {
        line.append(variable).append("=").append(shell_word(value)).append(" ");
    };
    if (o.cpu_cap)
        set("KTSTR_CPU_CAP", std::to_string(*o.cpu_cap));
    for (const auto& [variable, program] : o.scheduler_variables)
        set(variable, program);
    line += shell_word(o.program);
    const auto add = [&](std::string_view name, std::string_view value) {
        line += ' ';
        line += name;
        if (!value.empty())
            line += ' ' + shell_word(value);
    };
    add("--filter", cell_name);
    add("--seed", std::to_string(o.seed));
    if (o.accel != accel_wish::automatic)
        add("--accel", to_text(o.accel));
    for (const auto& kernel : o.kernels)  // all of them, for they are in the cell's name
        add("--kernel", kernel);
    if (o.topology)
        add("--topology", to_text(*o.topology).view());
    if (o.no_clone)
        add("--no-clone", "");
    return line;
}

}  // namespace ktstr::host
