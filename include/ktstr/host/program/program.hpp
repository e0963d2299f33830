// SPDX-License-Identifier: MIT
// What a test program does on the host, from its arguments to its exit code. The order matters:
// whatever needs nothing (--list) comes before whatever costs something. Host side.
#pragma once

#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/parse.hpp>
#include <ktstr/host/clone/clone_sources.hpp>
#include <ktstr/host/nested/nested.hpp>
#include <ktstr/host/plan/list.hpp>
#include <ktstr/host/plan/select.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/program/doctor.hpp>
#include <ktstr/host/program/dry_run.hpp>
#include <ktstr/host/program/shell.hpp>
#include <ktstr/host/report/exit_status.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/run/host_shares.hpp>
#include <ktstr/host/run/private_directory.hpp>
#include <ktstr/host/run/report_list.hpp>
#include <ktstr/host/run/run_start.hpp>
#include <ktstr/host/run/runner.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/setup/scheduler_variables.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/test/registry.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <unistd.h>

namespace ktstr::host {

/// What only main.hpp can hand over, because host and guest never include each other.
struct guest_roles {
    int (*keep_body)(int fd) = nullptr;  ///< serves a host_only body on a descriptor, to its end
    std::string_view agent_identity;     ///< of the guest's headers; empty: unknown
};

namespace detail {

inline int say_error(int code, const error& e) {
    (void)write_named(STDERR_FILENO, "ktstr: " + printable(e.message()) + '\n', "standard error");
    return code;
}

/// One line about something that takes long, on standard error.
inline void say_progress(std::string_view line) {
    (void)write_named(STDERR_FILENO, "ktstr: " + printable(line) + '\n', "standard error");
}

/// Makes the template of each selected test that a clone is for, and runs none of them.
inline int make_templates(const options& wanted, const cell_list& cells) {
    const stop_signal stop;
    auto directory = private_directory::create();
    if (!directory)
        return say_error(exit_run_impossible, directory.error());
    auto setup = prepare_run(wanted, kernels_of(cells), say_progress);
    if (!setup)
        return say_error(exit_run_impossible, setup.error());
    clone_sources sources(*setup, directory->path(), stop.fd(), say_progress);
    for (const cell& one : cells) {
        auto planned = sources.plan_for(one, setup->host.accel);
        if (!planned.machine || !sources.attach(planned))
            return say_error(exit_run_impossible,
                             plain_error("make the template of", one.name, planned.why_cold));
    }
    return 0;
}

/// The cells on a host that is known, told to reports that are open.
inline run_finished run_prepared(const options& wanted, const run_setup& setup,
                                 const cell_list& cells, fan_out& events, reservations& shares,
                                 const std::filesystem::path& directory, int stop_fd) {
    const auto begun = std::chrono::steady_clock::now();
    const auto started = start_of_run(wanted, setup, cells.size(), begun);
    events(started);
    events.start_ticking(tick_period(wanted));

    tally totals;
    runner running(wanted, setup, cells, events, totals, directory, stop_fd, shares, say_progress);
    const auto aborted = running.run();
    events.stop_ticking();
    auto finished = totals.finish(
        cells.size(), wanted.seed,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    finished.aborted = aborted;
    if (running.run_impossible() && finished.exit_code != 1)
        finished.exit_code = exit_run_impossible;
    events(finished);
    return finished;
}

/// Boots a machine for each selected test and reports.
inline int run_tests(const options& wanted, const environment& variables, const cell_list& cells) {
    const stop_signal stop;
    auto directory = private_directory::create();
    if (!directory)
        return say_error(exit_run_impossible, directory.error());
    auto setup = prepare_run(wanted, kernels_of(cells), say_progress);
    if (!setup)
        return say_error(exit_run_impossible, setup.error());
    if (wanted.shell)
        return give_shell(wanted, *setup, cells.front(), directory->path(), stop.fd());

    fan_out events;
    auto shares = open_shares(wanted, setup->host, stop.fd(), events);
    if (!shares)
        return say_error(exit_run_impossible, shares.error());
    if (auto opened = open_reports(events, wanted, variables); !opened)
        return say_error(exit_run_impossible, opened.error());
    const auto finished =
        run_prepared(wanted, *setup, cells, events, **shares, directory->path(), stop.fd());
    if (const auto problem = events.problem())
        return say_error(exit_run_impossible, *problem);
    return finished.exit_code;
}

}  // namespace detail

/// The host's main(). Exit codes as in the public contract.
[[nodiscard]] inline int run_program(int argc, char** argv, const guest_roles& roles) {
    const auto variables = environment::of_process();
    auto parsed = parse_options(argc, argv, variables);
    if (const auto* leave = std::get_if<cli_exit>(&parsed)) {
        (void)write_named(STDERR_FILENO, leave->err, "standard error");
        return write_named(STDOUT_FILENO, leave->out, "standard output") ? leave->code
                                                                         : exit_run_impossible;
    }
    auto& wanted = std::get<options>(parsed);
    wanted.internal.agent_id = roles.agent_identity;
    if (wanted.internal.body_fd)
        return roles.keep_body(*wanted.internal.body_fd);

    const auto registered = registered_tests();
    const std::span<const test_case* const> all(registered.begin(), registered.size());
    if (auto distinct = require_distinct_names(all); !distinct)
        return detail::say_error(exit_bad_usage, distinct.error());
    auto selected = select_cells(all, wanted);
    if (!selected)
        return detail::say_error(exit_bad_usage, selected.error());
    // A shell is for the one test that was asked for, whichever shard it is in.
    const auto cells =
        wanted.part && !wanted.shell ? shard_cells(*selected, *wanted.part) : *selected;
    if (wanted.list)
        return write_named(STDOUT_FILENO, list_text(cells, wanted), "standard output")
                   ? 0
                   : exit_run_impossible;
    if (wanted.doctor)
        return run_doctor(wanted, cells);
    if (all.empty())
        return detail::say_error(exit_bad_usage,
                                 plain_error("run", wanted.program, "it holds no test",
                                             "add a KTSTR_TEST to one of its sources"));
    if (wanted.part)
        if (auto announced = announce_sharding(*wanted.part); !announced)
            return detail::say_error(exit_run_impossible, announced.error());
    if (auto settled = settle_scheduler_variables(all, wanted); !settled)
        return detail::say_error(exit_bad_usage, settled.error());
    if (wanted.dry_run)
        return run_dry(wanted, cells);
    if (wanted.accel == accel_wish::nested && !cells.empty())
        return run_nested(wanted, variables, cells);
    if (wanted.internal.templates)
        return detail::make_templates(wanted, cells);
    return detail::run_tests(wanted, variables, cells);
}

}  // namespace ktstr::host
