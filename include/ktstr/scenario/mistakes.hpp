// SPDX-License-Identifier: MIT
// What a test can get wrong in its steps: the one set of rules, tried before anything is created, so
// that a mistake in the third step does not cost the time of the first two. It is the test that
// fails by them and never the scheduler. Not included by the front door.
#pragma once

#include <ktstr/scenario/step.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ktstr {

/// More workers than this in one work group is taken for a slip of the finger.
inline constexpr int max_workers = 4096;

// Each of these gives the first mistake as a part of a sentence, or "".

/// Names are paths below the scenario's own cgroup: "a" or "a/b".
[[nodiscard]] inline std::string mistake_in_cgroup_name(std::string_view name) {
    if (name.empty())
        return "the name is empty";
    if (name.front() == '/')
        return "the name starts with a slash; names are relative to the scenario";
    if (name.find('\0') != std::string_view::npos || name.find('\n') != std::string_view::npos)
        return "the name holds a newline or a NUL";
    for (std::string_view rest = name;;) {
        const auto slash = rest.find('/');
        const auto part = rest.substr(0, slash);
        if (part.empty())
            return "a part of the name is empty";
        if (part == "." || part == "..")
            return "the name holds \"" + std::string(part) + "\"";
        if (part.size() > 255)
            return "a part of the name is longer than 255 bytes";
        if (part.starts_with("cgroup."))
            return "names that start with \"cgroup.\" are the kernel's";
        if (slash == std::string_view::npos)
            return {};
        rest.remove_prefix(slash + 1);
    }
}

/// A new kind of work needs a rule of its own here, or this does not compile.
[[nodiscard]] inline std::string mistake_in(const spin_wait& work) {
    return work.spins > 0 ? ""
                          : "spin_wait needs 1 spin or more, not " + std::to_string(work.spins);
}

/// A share that is nothing, or less, would silently hold nothing: a step that shall not hold says
/// hold::fixed(0s).
[[nodiscard]] inline std::string mistake_in(const hold& time) {
    if (time.is_fixed())
        return time.length({}).count() >= 0 ? "" : "the hold is negative";
    if (std::isfinite(time.share()) && time.share() > 0 && time.share() <= 1)
        return {};
    return "a hold's share of the duration is above 0 and at most 1, not " +
           std::to_string(time.share());
}

[[nodiscard]] inline std::string mistake_in(const cgroup_def& def) {
    if (auto fault = mistake_in_cgroup_name(def.name); !fault.empty())
        return fault;
    for (const auto& group : def.resolved_groups()) {
        if (*group.workers < 1 || *group.workers > max_workers)
            return "a work group has 1 to " + std::to_string(max_workers) + " workers, not " +
                   std::to_string(*group.workers);
        auto fault = std::visit([](const auto& work) { return mistake_in(work); }, group.kind);
        if (!fault.empty())
            return fault;
    }
    return {};
}

[[nodiscard]] inline std::string mistake_in(const step& s) {
    if (auto fault = mistake_in(s.hold); !fault.empty())
        return fault;
    for (const auto& def : s.setup)
        if (auto fault = mistake_in(def); !fault.empty())
            return "cgroup \"" + def.name + "\": " + fault;
    for (const auto& def : s.setup) {
        int same = 0;
        for (const auto& other : s.setup) {
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

/// The first mistake as a sentence that names the step.
[[nodiscard]] inline std::string mistake_in(const std::vector<step>& steps) {
    for (std::size_t i = 0; i < steps.size(); ++i)
        if (auto fault = mistake_in(steps[i]); !fault.empty())
            return "step " + std::to_string(i) + ": " + fault;
    return {};
}

}  // namespace ktstr
