// SPDX-License-Identifier: MIT
// The event that every run begins with, filled in one place: a run on this host and one that is nested
// tell the same of themselves. Host side.
#pragma once

#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/run/host_setup.hpp>
#include <ktstr/version.hpp>

#include <chrono>
#include <cstddef>

namespace ktstr::host {

[[nodiscard]] inline run_started start_of_run(const options& wanted, const host_setup& setup,
                                              std::size_t selected, event_clock::time_point begun) {
    run_started e;
    e.version = ktstr::version;
    e.program = wanted.program;
    e.selected = selected;
    e.seed = wanted.seed;
    e.accel = to_text(wanted.accel);
    if (!setup.kernel.release.empty())
        e.kernel = setup.kernel.release;
    e.jobs = wanted.jobs;
    if (wanted.part) {
        e.shard_index = wanted.part->index;
        e.shard_total = wanted.part->total;
    }
    e.notes = setup.notes;
    e.wall_time = std::chrono::system_clock::now();
    e.at = begun;
    return e;
}

}  // namespace ktstr::host
