// SPDX-License-Identifier: MIT
// Whether a scenario can be carried out at all, told before anything is created. What it finds is
// a mistake in the test, never a trait of the scheduler. Not included by the front door.
#pragma once

#include <ktstr/scenario/step.hpp>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr {

/// More workers than this in one work group is taken for a slip of the finger.
inline constexpr int max_workers = 4096;

namespace detail {

inline std::string cgroup_name_problem(std::string_view name) {
    if (name.empty())
        return "a cgroup has no name";
    if (name == "." || name == "..")
        return "'" + std::string(name) + "' is no name for a cgroup";
    if (name.size() > 255)
        return "the cgroup name '" + std::string(name.substr(0, 32)) + "...' is above 255 bytes";
    for (const char c : name)
        if (c == '/' || c == '\n' || c == '\0')
            return "the cgroup name '" + std::string(name) +
                   "' holds a character that no directory in cgroupfs can have here";
    return {};
}

inline std::string work_problem(const spin_wait& work) {
    return work.spins >= 1 ? std::string()
                           : "spin_wait needs at least one spin, not " + std::to_string(work.spins);
}

inline std::string hold_problem(const hold& h) {
    if (h.is_fixed())
        return h.length({}).count() >= 0 ? std::string() : "a hold cannot last less than no time";
    return std::isfinite(h.share()) && h.share() > 0.0 && h.share() <= 1.0
               ? std::string()
               : "a hold's share of the duration is above 0 and at most 1, not " +
                     std::to_string(h.share());
}

inline std::string cgroup_problem(const cgroup_def& def) {
    if (std::string problem = cgroup_name_problem(def.name); !problem.empty())
        return problem;
    for (const work_spec& group : def.resolved_groups()) {
        const int workers = group.workers.value_or(0);
        if (workers < 1 || workers > max_workers)
            return "cgroup '" + def.name + "': a work group has 1 to " +
                   std::to_string(max_workers) + " workers, not " + std::to_string(workers);
        const std::string problem =
            std::visit([](const auto& work) { return work_problem(work); }, group.kind);
        if (!problem.empty())
            return "cgroup '" + def.name + "': " + problem;
    }
    return {};
}

}  // namespace detail

/// The first thing wrong with the scenario, as "step 1: ...", or nothing.
[[nodiscard]] inline std::optional<std::string> scenario_problem(const std::vector<step>& steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const std::string where = "step " + std::to_string(i) + ": ";
        if (const std::string problem = detail::hold_problem(steps[i].hold); !problem.empty())
            return where + problem;
        const std::vector<cgroup_def>& setup = steps[i].setup;
        for (std::size_t c = 0; c < setup.size(); ++c) {
            if (const std::string problem = detail::cgroup_problem(setup[c]); !problem.empty())
                return where + problem;
            for (std::size_t before = 0; before < c; ++before)
                if (setup[before].name == setup[c].name)
                    return where + "two cgroups are called '" + setup[c].name + "'";
        }
    }
    return std::nullopt;
}

}  // namespace ktstr
