// SPDX-License-Identifier: MIT
// The host's part of a test program's main, and what <ktstr/embed.hpp> declares. Not inline: a second
// inclusion is a link error by name.
#pragma once

#include <ktstr/embed.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/program/embedded.hpp>
#include <ktstr/host/program/program.hpp>
#include <ktstr/main/seam.hpp>

#include <csignal>

#ifndef KTSTR_AGENT_IDENTITY  // by the build files; without it a template serves the program that booted it
#    define KTSTR_AGENT_IDENTITY ""
#endif

namespace ktstr {

namespace detail {

inline constexpr host::guest_roles roles{.keep_body = &keep_host_only_body,
                                         .agent_identity = KTSTR_AGENT_IDENTITY};

/// Whether take_role() has seen that this process is the one that a person started. Without it a keeper
/// of a body would be the person's program once more, and start keepers of its own.
inline constinit bool role_is_known = false;

int whole_life(int argc, char** argv) {
    take_guest_side();
    return host::run_program(argc, argv, roles);
}

}  // namespace detail

std::optional<int> take_role(int argc, char** argv) {
    detail::take_guest_side();
    if (host::is_started_by_ktstr(argc, argv))
        return host::run_program(argc, argv, detail::roles);
    detail::role_is_known = true;
    return std::nullopt;
}

int run(int argc, char** argv) {
    if (const auto status = take_role(argc, argv))
        return *status;
    int status = 0;
    host::stop_signal::forget();
    {
        const host::detail::kept_signal_actions kept;
        status = host::run_program(argc, argv, detail::roles);
    }
    // A run that it has stopped says so by its status. Any other is over as if it had not come.
    const int signal = host::stop_signal::received();
    host::stop_signal::forget();
    if (signal != 0 && status != 1 && status != host::exit_run_impossible)
        ::raise(signal);
    return status;
}

result<std::vector<cell_info>> list_cells(const run_options& how) {
    return host::list_embedded(how, detail::roles);
}

cell_result run_cell(std::string_view name, const run_options& how) {
    if (!detail::role_is_known)
        return host::not_run(
            name, cell_ending::misused,
            plain_error("run", std::string(name),
                        "take_role() was not called in this process, or this is no "
                        "process of the host's side",
                        "call ktstr::take_role(argc, argv) first in main()"));
    return host::run_embedded(name, how, detail::roles);
}

}  // namespace ktstr
