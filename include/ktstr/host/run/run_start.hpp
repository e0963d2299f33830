// SPDX-License-Identifier: MIT
// The event that every run begins with, filled in one place: a run on this host and one that is nested
// tell the same of themselves. Host side.
#pragma once

#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/version.hpp>

#include <chrono>
#include <cstddef>
#include <utility>

namespace ktstr::host {

[[nodiscard]] inline run_started start_of_run(const options& wanted, const run_setup& setup,
                                              std::size_t selected, event_clock::time_point begun) {
    run_started e;
    e.version = ktstr::version;
    e.program = wanted.program;
    e.selected = selected;
    e.seed = wanted.seed;
    e.accel = to_text(wanted.accel);
    if (auto releases = setup.releases(); !releases.empty())
        e.kernel = std::move(releases);
    e.jobs = wanted.jobs;
    if (wanted.part) {
        e.shard_index = wanted.part->index;
        e.shard_total = wanted.part->total;
    }
    e.notes = setup.host.notes;
    e.wall_time = std::chrono::system_clock::now();
    e.at = begun;
    return e;
}

}  // namespace ktstr::host
