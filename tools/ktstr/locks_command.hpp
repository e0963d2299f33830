// SPDX-License-Identifier: MIT
// `ktstr locks`: which of this host's CPUs and caches are reserved, and by whom. Host side.
#pragma once

#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/reserve/lock_list.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "subcommand.hpp"

namespace ktstr::tool {

inline void add_locks_command(CLI::App& app, int& status) {
    CLI::App* const locks =
        app.add_subcommand("locks", "Who holds which CPUs and caches of this host");
    const auto json = std::make_shared<bool>(false);
    locks->add_flag("--json", *json, "One JSON array");
    locks->callback([json, &status] {
        const auto directory =
            host::environment::of_process().get("KTSTR_LOCK_DIR").value_or("/tmp");
        const auto found = host::list_locks(directory);
        if (!found) {
            status = cannot(found.error());
            return;
        }
        fmt::print("{}", *json ? host::to_json(*found) : host::to_text(*found));
        if (found->empty() && !*json)
            say("nothing is held in " + directory);
    });
}

}  // namespace ktstr::tool
