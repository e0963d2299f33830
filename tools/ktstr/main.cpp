// SPDX-License-Identifier: MIT
// The `ktstr` tool: what is not about one test program. Each subcommand has a header of its own;
// this file only names them and turns bad usage into exit code 5.
#include <ktstr/embed.hpp>

#include <CLI/CLI.hpp>
#include <exception>

#include "bpf_command.hpp"
#include "cache_command.hpp"
#include "doctor_command.hpp"
#include "kernel_command.hpp"
#include "locks_command.hpp"
#include "package_command.hpp"
#include "selftests_command.hpp"
#include "smoke_command.hpp"
#include "verify_command.hpp"

int main(int argc, char** argv) {
    // `ktstr smoke` and `ktstr verify` run tests, so this program is the first process of their machines.
    if (const auto status = ktstr::take_role(argc, argv))
        return *status;
    try {
        CLI::App app{"ktstr: test Linux CPU schedulers in virtual machines", "ktstr"};
        app.require_subcommand(1);
        int status = 0;
        ktstr::tool::add_bpf_command(app, status);
        ktstr::tool::add_cache_command(app, status);
        ktstr::tool::add_doctor_command(app, status);
        ktstr::tool::add_kernel_command(app, status);
        ktstr::tool::add_locks_command(app, status);
        ktstr::tool::add_package_command(app, status);
        ktstr::tool::add_selftests_command(app, status);
        ktstr::tool::add_smoke_command(app, status);
        ktstr::tool::add_verify_command(app, status);
        try {
            app.parse(argc, argv);
        } catch (const CLI::ParseError& stop) {
            return app.exit(stop) == 0 ? 0 : ktstr::tool::exit_usage;
        }
        return status;
    } catch (const std::exception& failure) {
        ktstr::tool::say(failure.what());
        return ktstr::tool::exit_cannot;
    }
}
