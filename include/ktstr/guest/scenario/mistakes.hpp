// SPDX-License-Identifier: MIT
// What a test can get wrong in its steps, found before the first worker is forked: a mistake in
// the third step must not cost the time of the first two. Guest side.
#pragma once

#include <ktstr/guest/cgroup/cgroup_tree.hpp>
#include <ktstr/guest/work/run_work.hpp>
#include <ktstr/scenario/step.hpp>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::guest {

namespace detail {

[[nodiscard]] inline std::string mistake_in(const ktstr::hold& hold) {
    if (!hold.is_fixed() && !std::isfinite(hold.share()))
        return "the hold is no finite share of the duration";
    if (hold.is_fixed() && hold.length({}) < std::chrono::nanoseconds::zero())
        return "the hold is negative";
    return {};
}

[[nodiscard]] inline std::string mistake_in(const cgroup_def& def) {
    if (auto fault = fault_of_cgroup_name(def.name); !fault.empty())
        return fault;
    for (const auto& group : def.resolved_groups()) {
        if (*group.workers <= 0)
            return "it needs 1 worker or more, not " + std::to_string(*group.workers);
        if (auto fault = fault_of_work(group.kind); !fault.empty())
            return fault;
    }
    return {};
}

[[nodiscard]] inline std::string mistake_in(const step& step) {
    if (auto fault = mistake_in(step.hold); !fault.empty())
        return fault;
    for (const auto& def : step.setup)
        if (auto fault = mistake_in(def); !fault.empty())
            return "cgroup \"" + def.name + "\": " + fault;
    for (const auto& def : step.setup) {
        int same = 0;
        for (const auto& other : step.setup) {
            same += other.name == def.name ? 1 : 0;
            // The kernel allows it only while no controller is handed down, which depends on the
            // machine; a test should not.
            if (other.name.starts_with(def.name + '/'))
                return "cgroup \"" + def.name + "\" has workers and so can't hold cgroup \"" +
                       other.name +
                       "\": with controllers, only the innermost cgroups may have both "
                       "a parent and processes; give the workers a cgroup beside it";
        }
        if (same > 1)
            return "cgroup \"" + def.name + "\" is set up twice";
    }
    return {};
}

}  // namespace detail

/// The first mistake as a sentence that names the step, or nothing.
[[nodiscard]] inline std::string mistake_in(const std::vector<step>& steps) {
    for (std::size_t i = 0; i < steps.size(); ++i)
        if (auto fault = detail::mistake_in(steps[i]); !fault.empty())
            return "step " + std::to_string(i) + ": " + fault;
    return {};
}

}  // namespace ktstr::guest
