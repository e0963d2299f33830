// SPDX-License-Identifier: MIT
// What the events of an attempt say of its cell, filled in one place: for an attempt that ran here, for
// one that could not, and for one that ran in another machine. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/report/event.hpp>

#include <string>

namespace ktstr::host {

[[nodiscard]] inline test_started started_event(const cell& one, int attempt) {
    return {.name = one.name,
            .file = std::string(one.test->file),
            .line = one.test->line,
            .topology = std::string(ktstr::to_text(one.topology)),
            .attempt = attempt,
            .timeout = one.spec().body_limit(),
            .at = event_clock::now()};
}

/// Sets what is known before the attempt begins.
inline void describe(const cell& one, int attempt, test_finished& event) {
    event.name = one.name;
    event.test = one.test->name;
    event.file = one.test->file;
    event.line = one.test->line;
    event.attempt = attempt;
    event.seed = one.seed;
    if (!one.has_machine())
        return;
    event.topology = std::string(ktstr::to_text(one.topology));
    event.scheduler = std::string(one.scheduler->name);
}

}  // namespace ktstr::host
