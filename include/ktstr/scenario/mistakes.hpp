// SPDX-License-Identifier: MIT
// What a test can get wrong in its steps: the one set of rules, tried before anything is created, so
// that a mistake in the third step does not cost the time of the first two. It is the test that
// fails by them and never the scheduler. Not included by the front door.
#pragma once

#include <ktstr/scenario/step.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
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

/// More than this cannot work together: as many words there are in the memory that they share.
inline constexpr int max_crew = 32;

namespace detail {

[[nodiscard]] inline std::string mistake_in_count(const char* kind, const char* what,
                                                  std::int64_t value, std::int64_t least,
                                                  std::int64_t most) {
    return value >= least && value <= most
               ? ""
               : std::string(kind) + " has " + std::to_string(least) + " to " +
                     std::to_string(most) + ' ' + what + ", not " + std::to_string(value);
}
[[nodiscard]] inline std::string mistake_in_spins(const char* kind, int spins) {
    return spins >= 0 ? ""
                      : std::string(kind) + " needs 0 spins or more, not " + std::to_string(spins);
}
[[nodiscard]] inline std::string mistake_in_time(const char* kind, const char* what,
                                                 std::chrono::nanoseconds time) {
    return time.count() > 0 ? "" : std::string(kind) + " needs a " + what + " above 0";
}
/// The first that is one.
template <class... Text>
[[nodiscard]] std::string first_of(Text... text) {
    std::string first;
    ((first.empty() ? static_cast<void>(first = std::move(text)) : static_cast<void>(0)), ...);
    return first;
}

}  // namespace detail

// A new kind of work needs a rule of its own here, or this does not compile.
namespace work {

[[nodiscard]] inline std::string mistake_in(const spin_wait& w) {
    return w.spins > 0 ? "" : "spin_wait needs 1 spin or more, not " + std::to_string(w.spins);
}
[[nodiscard]] inline std::string mistake_in(const yield_heavy&) {
    return {};
}
[[nodiscard]] inline std::string mistake_in(const mixed& w) {
    return detail::mistake_in_spins("mixed", w.spins);
}
[[nodiscard]] inline std::string mistake_in(const bursty& w) {
    return detail::first_of(detail::mistake_in_time("bursty", "burst", w.burst),
                            detail::mistake_in_time("bursty", "sleep", w.sleep));
}
[[nodiscard]] inline std::string mistake_in(const pipe_io& w) {
    return detail::mistake_in_spins("pipe_io", w.spins);
}
[[nodiscard]] inline std::string mistake_in(const futex_ping_pong& w) {
    return detail::mistake_in_spins("futex_ping_pong", w.spins);
}
[[nodiscard]] inline std::string mistake_in(const futex_fan_out& w) {
    return detail::first_of(
        detail::mistake_in_count("futex_fan_out", "receivers", w.fan_out, 1, max_crew - 2),
        detail::mistake_in_spins("futex_fan_out", w.spins));
}
[[nodiscard]] inline std::string mistake_in(const thundering_herd& w) {
    return detail::first_of(
        detail::mistake_in_count("thundering_herd", "waiters", w.waiters, 1, max_crew - 2),
        detail::mistake_in_time("thundering_herd", "gap", w.gap));
}
[[nodiscard]] inline std::string mistake_in(const wake_chain& w) {
    return detail::first_of(detail::mistake_in_count("wake_chain", "workers", w.depth, 2, max_crew),
                            detail::mistake_in_time("wake_chain", "work", w.work));
}
[[nodiscard]] inline std::string mistake_in(const mutex_contention& w) {
    return detail::first_of(
        detail::mistake_in_count("mutex_contention", "contenders", w.contenders, 2, max_crew),
        detail::mistake_in_spins("mutex_contention", w.hold_spins),
        detail::mistake_in_spins("mutex_contention", w.work_spins));
}
[[nodiscard]] inline std::string mistake_in(const barrier& w) {
    return detail::first_of(
        detail::mistake_in_count("barrier", "parties", w.parties, 2, max_crew - 2),
        detail::mistake_in_spins("barrier", w.spins));
}
[[nodiscard]] inline std::string mistake_in(const fork_exit&) {
    return {};
}
[[nodiscard]] inline std::string mistake_in(const compile_tree& w) {
    return detail::first_of(detail::mistake_in_count("compile_tree", "jobs", w.jobs, 1, 64),
                            detail::mistake_in_time("compile_tree", "work", w.work));
}
[[nodiscard]] inline std::string mistake_in(const nice_sweep& w) {
    return detail::mistake_in_spins("nice_sweep", w.spins);
}
[[nodiscard]] inline std::string mistake_in(const affinity_churn& w) {
    return detail::mistake_in_spins("affinity_churn", w.spins);
}
[[nodiscard]] inline std::string mistake_in(const policy_churn& w) {
    return detail::mistake_in_spins("policy_churn", w.spins);
}
[[nodiscard]] inline std::string mistake_in(const signal_storm& w) {
    return detail::first_of(
        detail::mistake_in_count("signal_storm", "signals", w.signals, 1, 1000000),
        detail::mistake_in_spins("signal_storm", w.spins));
}
[[nodiscard]] inline std::string mistake_in(const page_fault_churn& w) {
    return detail::first_of(
        detail::mistake_in_count("page_fault_churn", "KiB", w.kib, 64, 1 << 30),
        // Further ones would touch the same pages again, and fault no more.
        detail::mistake_in_count("page_fault_churn", "touches of pages of 4 KiB", w.touches, 1,
                                 w.kib / 4),
        detail::mistake_in_spins("page_fault_churn", w.spins));
}
[[nodiscard]] inline std::string mistake_in(const idle_churn& w) {
    return detail::first_of(detail::mistake_in_time("idle_churn", "burst", w.burst),
                            detail::mistake_in_time("idle_churn", "sleep", w.sleep));
}
[[nodiscard]] inline std::string mistake_in(const timer_latency& w) {
    return detail::mistake_in_time("timer_latency", "interval", w.interval);
}
[[nodiscard]] inline std::string mistake_in(const deadline_frames& w) {
    return detail::first_of(detail::mistake_in_time("deadline_frames", "period", w.period),
                            detail::mistake_in_time("deadline_frames", "budget", w.budget));
}
[[nodiscard]] inline std::string mistake_in(const unix_socket& w) {
    return detail::mistake_in_count("unix_socket", "bytes", w.bytes, 1, 65536);
}
[[nodiscard]] inline std::string mistake_in(const preempt_storm& w) {
    return detail::first_of(
        detail::mistake_in_count("preempt_storm", "spinners", w.spinners, 1, max_crew - 1),
        detail::mistake_in_spins("preempt_storm", w.spins),
        detail::mistake_in_time("preempt_storm", "interval", w.interval));
}
[[nodiscard]] inline std::string mistake_in(const stop_the_world& w) {
    return detail::first_of(
        detail::mistake_in_count("stop_the_world", "mutators", w.mutators, 1, max_crew - 2),
        detail::mistake_in_spins("stop_the_world", w.spins),
        detail::mistake_in_time("stop_the_world", "every", w.every),
        detail::mistake_in_time("stop_the_world", "pause", w.pause));
}
[[nodiscard]] inline std::string mistake_in(const epoll_storm& w) {
    return detail::first_of(
        detail::mistake_in_count("epoll_storm", "consumers", w.consumers, 1, max_crew - 1),
        detail::mistake_in_count("epoll_storm", "events", w.events, 1, 1'000'000));
}
[[nodiscard]] inline std::string mistake_in(const priority_inversion& w) {
    return detail::first_of(detail::mistake_in_spins("priority_inversion", w.hold_spins),
                            detail::mistake_in_spins("priority_inversion", w.work_spins));
}
[[nodiscard]] inline std::string mistake_in(const io_uring& w) {
    return detail::mistake_in_count("io_uring", "requests", w.requests, 1, 4096);
}
[[nodiscard]] inline std::string mistake_in(const custom& w) {
    return w.run != nullptr ? "" : "custom has no function to run";
}

}  // namespace work

[[nodiscard]] inline std::string mistake_in(const work_kind& kind) {
    switch (kind.id()) {
#define KTSTR_DETAIL_MISTAKE(name) \
    case work_id::name:            \
        return mistake_in(kind.as<work::name>());
        KTSTR_DETAIL_WORK_KINDS(KTSTR_DETAIL_MISTAKE)
#undef KTSTR_DETAIL_MISTAKE
    }
    return "a kind of work that nobody knows";
}

/// More phases than this need more memory than a machine should give to them.
inline constexpr std::size_t max_work_phases = 16;

[[nodiscard]] inline std::string mistake_in(const work_spec& group) {
    if (group.phases.size() > max_work_phases)
        return "work has at most " + std::to_string(max_work_phases) + " phases, not " +
               std::to_string(group.phases.size());
    for (const work_phase& phase : group.phases) {
        if (phase.lasts.count() <= 0)
            return "a phase of work needs a time above 0";
        if (auto fault = mistake_in(phase.kind); !fault.empty())
            return fault;
    }
    if (group.phases.empty())
        if (auto fault = mistake_in(group.kind); !fault.empty())
            return fault;
    if (*group.workers < 1 || *group.workers > max_workers)
        return "a work group has 1 to " + std::to_string(max_workers) + " workers, not " +
               std::to_string(*group.workers);
    if (*group.workers % group.members() != 0)
        return (group.phases.empty() ? std::string(to_text(group.kind.id())) : "this sequence") +
               " takes " + std::to_string(group.members()) +
               " workers together, or a multiple of that, not " + std::to_string(*group.workers);
    return {};
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
    for (const auto& group : def.resolved_groups())
        if (auto fault = mistake_in(group); !fault.empty())
            return fault;
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
