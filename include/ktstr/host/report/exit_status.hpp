// SPDX-License-Identifier: MIT
// The process's exit code, from how the selected tests came out and from what kept the run from
// happening. The table is the public contract; check/verdict.hpp holds its part about verdicts.
// Host side.
#pragma once

#include <ktstr/check/verdict.hpp>
#include <ktstr/host/report/event.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace ktstr::host {

/// Exit codes that no verdict leads to.
inline constexpr int exit_run_impossible = 3;
inline constexpr int exit_bad_usage = 5;

/// What a run adds up to. `selected` is the number of tests this process was to run: none at all
/// is a success only because a shard may be empty, every other way to select nothing is a usage
/// error before this. Fewer outcomes than tests means that the run was cut short: a failure seen so
/// far stands, but nothing better than "could not be done" may be claimed.
[[nodiscard]] inline int exit_status(std::span<const final_outcome> outcomes,
                                     std::size_t selected) {
    if (selected == 0 && outcomes.empty())
        return 0;
    std::vector<verdict> verdicts;
    verdicts.reserve(outcomes.size());
    for (const auto& outcome : outcomes)
        verdicts.push_back(outcome.result);
    const int code = exit_code(verdicts);
    if (outcomes.size() < selected && code != 1)
        return exit_run_impossible;
    return code;
}

}  // namespace ktstr::host
