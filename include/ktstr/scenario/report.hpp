// SPDX-License-Identifier: MIT
// What came out of a scenario: a report for every worker, gathered by cgroup and by step. Numbers
// as the workers and the kernel gave them; judging them is check/'s work.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr {

struct worker_report {
    std::string cgroup{};  ///< the cgroup_def's name
    int group = 0;         ///< which work group of that cgroup, from 0
    int index = 0;         ///< which worker of that work group, from 0
    int pid = 0;
    std::uint64_t iterations = 0;  ///< turns of its work kind's loop
    std::uint64_t wall_ns = 0;     ///< from its start to its stop
    std::uint64_t cpu_ns = 0;      ///< what it ran of that, user and system
    bool completed = false;        ///< it stopped when told to, and reported
    std::string exit_status{};     ///< "" when completed, else what became of it
};

namespace detail {

template <class Range, class Member>
std::uint64_t sum_of(const Range& parts, Member member) {
    std::uint64_t total = 0;
    for (const auto& part : parts)
        total += (part.*member)();
    return total;
}

}  // namespace detail

struct cgroup_report {
    std::string name{};
    std::vector<worker_report> workers{};

    [[nodiscard]] std::uint64_t iterations() const {
        std::uint64_t total = 0;
        for (const worker_report& w : workers)
            total += w.iterations;
        return total;
    }
    [[nodiscard]] std::uint64_t cpu_ns() const {
        std::uint64_t total = 0;
        for (const worker_report& w : workers)
            total += w.cpu_ns;
        return total;
    }
    [[nodiscard]] std::uint64_t worker_count() const { return workers.size(); }
    [[nodiscard]] std::uint64_t completed_workers() const {
        std::uint64_t total = 0;
        for (const worker_report& w : workers)
            total += w.completed ? 1 : 0;
        return total;
    }
};

struct step_result {
    std::uint64_t hold_ns = 0;  ///< how long it really held
    std::vector<cgroup_report> cgroups{};

    [[nodiscard]] std::uint64_t iterations() const {
        return detail::sum_of(cgroups, &cgroup_report::iterations);
    }
    [[nodiscard]] std::uint64_t cpu_ns() const {
        return detail::sum_of(cgroups, &cgroup_report::cpu_ns);
    }
    [[nodiscard]] std::uint64_t worker_count() const {
        return detail::sum_of(cgroups, &cgroup_report::worker_count);
    }
    [[nodiscard]] std::uint64_t completed_workers() const {
        return detail::sum_of(cgroups, &cgroup_report::completed_workers);
    }
    /// The cgroup of that name, or null.
    [[nodiscard]] const cgroup_report* cgroup(std::string_view name) const {
        for (const cgroup_report& c : cgroups)
            if (c.name == name)
                return &c;
        return nullptr;
    }
};

struct scenario_result {
    std::vector<step_result> steps{};

    [[nodiscard]] std::uint64_t iterations() const {
        return detail::sum_of(steps, &step_result::iterations);
    }
    [[nodiscard]] std::uint64_t cpu_ns() const {
        return detail::sum_of(steps, &step_result::cpu_ns);
    }
    [[nodiscard]] std::uint64_t worker_count() const {
        return detail::sum_of(steps, &step_result::worker_count);
    }
    [[nodiscard]] std::uint64_t completed_workers() const {
        return detail::sum_of(steps, &step_result::completed_workers);
    }
    [[nodiscard]] bool all_completed() const { return completed_workers() == worker_count(); }
};

}  // namespace ktstr
