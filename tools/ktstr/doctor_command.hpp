// SPDX-License-Identifier: MIT
// `ktstr doctor`: what this host can do and what mends the rest; the same as a test program's
// --doctor, without tests. Host side.
#pragma once

#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/parse.hpp>
#include <ktstr/host/program/doctor.hpp>

#include <CLI/CLI.hpp>
#include <string>
#include <variant>
#include <vector>

#include "subcommand.hpp"

namespace ktstr::tool {

inline void add_doctor_command(CLI::App& app, int& status) {
    CLI::App* const doctor =
        app.add_subcommand("doctor", "What this host can do, and what mends the rest");
    doctor->callback([&status] {
        // The environment counts here as it does for a test program.
        auto parsed = host::parse_options({"ktstr"}, host::environment::of_process());
        if (const auto* leave = std::get_if<host::cli_exit>(&parsed)) {
            std::fputs(leave->err.c_str(), stderr);
            status = leave->code;
            return;
        }
        status = host::run_doctor(std::get<host::options>(parsed), {});
    });
}

}  // namespace ktstr::tool
