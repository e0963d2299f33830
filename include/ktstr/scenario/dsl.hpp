// SPDX-License-Identifier: MIT
// The words of scenarios under names that stand alone, for files that have a `step`, a `hold` or a
// `version` of their own: `using namespace ktstr::dsl` brings these and nothing else. Most tests need
// not even that: execute_steps() is found through its context, and braces need no names.
#pragma once

#include <ktstr/scenario/execute.hpp>

namespace ktstr::dsl {

using ktstr::cgroup_def;
using ktstr::execute_steps;
using ktstr::spin_wait;

using scenario_step = ktstr::step;

/// All of the test's duration.
inline constexpr ktstr::hold hold_full = ktstr::hold::full;

/// A part of the test's duration, above 0 and at most 1.
[[nodiscard]] constexpr ktstr::hold hold_share(double share) {
    return ktstr::hold::frac(share);
}
/// A time of its own.
[[nodiscard]] constexpr ktstr::hold hold_for(std::chrono::nanoseconds time) {
    return ktstr::hold::fixed(time);
}

}  // namespace ktstr::dsl
