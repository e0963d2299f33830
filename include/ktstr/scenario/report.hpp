// SPDX-License-Identifier: MIT
// What came out of a scenario: a report for every worker, gathered by cgroup and by step. Numbers
// as the workers and the kernel gave them; judging them is the test's work. A result is a range of
// its steps, a step of its cgroups, a cgroup of its workers.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/base/histogram.hpp>
#include <ktstr/topology/cpu_set.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr {

/// What was counted of one worker in one phase of its work, or of several together. What the kernel did not say is not a
/// number, and neither is a sum with that.
struct work_account {
    static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

    std::uint64_t iterations = 0;          ///< turns of its work kind's loop
    std::chrono::nanoseconds wall_time{};  ///< in this phase
    std::chrono::nanoseconds cpu_time{};   ///< what it ran of that, user and system
    measured_time run_delay{unknown};      ///< runnable and not running; a wait counts when it ends
    double migrations = unknown;           ///< to another CPU, as the kernel counts them
    double voluntary_switches = unknown;   ///< it blocked
    double involuntary_switches = unknown;  ///< it was preempted, or yielded
    std::uint64_t deadlines = 0;            ///< of a kind of work that has them
    std::uint64_t missed_deadlines = 0;     ///< of these
    cpu_set cpus{};  ///< where its turns ended; CPUs beyond its capacity are left out
    /// Its pages at its end, by memory node. Empty: there is one node, or it died.
    std::vector<std::uint64_t> pages_on_node{};
    histogram iteration_time{};  ///< from one turn's end to the next one's
    histogram
        wake_latency{};  ///< from when it was to run again until it did; empty: a kind without

    work_account& operator+=(const work_account& other) {
        iterations += other.iterations;
        wall_time += other.wall_time;
        cpu_time += other.cpu_time;
        run_delay += other.run_delay;
        migrations += other.migrations;
        voluntary_switches += other.voluntary_switches;
        involuntary_switches += other.involuntary_switches;
        deadlines += other.deadlines;
        missed_deadlines += other.missed_deadlines;
        cpus |= other.cpus;
        if (pages_on_node.size() < other.pages_on_node.size())
            pages_on_node.resize(other.pages_on_node.size());
        for (std::size_t i = 0; i < other.pages_on_node.size(); ++i)
            pages_on_node[i] += other.pages_on_node[i];
        iteration_time += other.iteration_time;
        wake_latency += other.wake_latency;
        return *this;
    }
};

namespace detail {

template <class Number, class Range, class Member>
Number sum_of(const Range& parts, Member member) {
    Number total{};
    for (const auto& part : parts)
        total += (part.*member)();
    return total;
}

/// The first as it is: a sum with an empty account would lose what that does not know.
template <class Range, class Account>
work_account account_of(const Range& parts, Account account) {
    work_account total;
    bool first = true;
    for (const auto& part : parts) {
        if (first)
            total = account(part);
        else
            total += account(part);
        first = false;
    }
    return total;
}

}  // namespace detail

struct worker_report {
    std::string cgroup{};  ///< the cgroup_def's name
    int group = 0;         ///< which work group of that cgroup, from 0
    int index = 0;         ///< which worker of that work group, from 0
    int pid = 0;
    std::uint64_t iterations = 0;          ///< turns of its work kind's loop
    std::chrono::nanoseconds wall_time{};  ///< from its start to its stop
    std::chrono::nanoseconds cpu_time{};   ///< what it ran of that, user and system
    bool completed = false;                ///< it stopped when told to, and reported
    std::string exit_status{};             ///< "" when completed, else what became of it
    std::vector<work_account> phases{};    ///< of its work group's phases; one where there are none

    /// Of all phases together.
    [[nodiscard]] work_account account() const {
        return detail::account_of(
            phases, [](const work_account& phase) -> const auto& { return phase; });
    }

    /// What a failed check shows of it.
    [[nodiscard]] std::string to_text() const {
        return cgroup + '[' + std::to_string(group) + "][" + std::to_string(index) +
               "]: " + (completed ? std::to_string(iterations) + " iterations" : exit_status);
    }
};

class cgroup_report {
public:
    cgroup_report(std::string name, std::vector<worker_report> workers)
        : name_(std::move(name)), workers_(std::move(workers)) {}

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::vector<worker_report>& workers() const { return workers_; }

    [[nodiscard]] std::uint64_t iterations() const {
        std::uint64_t total = 0;
        for (const worker_report& w : workers_)
            total += w.iterations;
        return total;
    }
    /// What its workers ran together.
    [[nodiscard]] std::chrono::nanoseconds cpu_time() const {
        std::chrono::nanoseconds total{};
        for (const worker_report& w : workers_)
            total += w.cpu_time;
        return total;
    }
    /// All that was counted of its workers, together.
    [[nodiscard]] work_account account() const {
        return detail::account_of(workers_, [](const worker_report& w) { return w.account(); });
    }
    /// The same of one phase; of a work group without phases it is phase 0.
    [[nodiscard]] work_account phase(std::size_t index) const {
        std::vector<const work_account*> all;
        for (const worker_report& w : workers_)
            if (index < w.phases.size())
                all.push_back(&w.phases[index]);
        return detail::account_of(
            all, [](const work_account* a) -> const auto& { return *a; });
    }
    /// What the kernel counted for the cgroup (cpu.stat's usage) from the start of the work until its workers had stopped;
    /// also what they forked. Not a number where the kernel does not say.
    [[nodiscard]] measured_time kernel_cpu_time() const { return kernel_cpu_time_; }
    void set_kernel_cpu_time(std::chrono::nanoseconds time) { kernel_cpu_time_ = time; }
    /// Its part of all workers' CPU time in this step, 0 to 1. Not a number when nobody ran at all:
    /// no check of such a share holds.
    [[nodiscard]] double share() const {
        if (step_cpu_time_ <= std::chrono::nanoseconds::zero())
            return std::numeric_limits<double>::quiet_NaN();
        return static_cast<double>(cpu_time().count()) /
               static_cast<double>(step_cpu_time_.count());
    }
    [[nodiscard]] int worker_count() const { return static_cast<int>(workers_.size()); }
    [[nodiscard]] int completed_workers() const {
        int total = 0;
        for (const worker_report& w : workers_)
            total += w.completed ? 1 : 0;
        return total;
    }
    [[nodiscard]] bool all_completed() const { return completed_workers() == worker_count(); }

    [[nodiscard]] auto begin() const { return workers_.begin(); }
    [[nodiscard]] auto end() const { return workers_.end(); }
    [[nodiscard]] std::size_t size() const { return workers_.size(); }
    [[nodiscard]] bool empty() const { return workers_.empty(); }

private:
    friend class step_result;

    std::string name_;
    std::vector<worker_report> workers_;
    std::chrono::nanoseconds step_cpu_time_{};
    measured_time kernel_cpu_time_{work_account::unknown};
};

class step_result {
public:
    step_result() = default;
    /// `held`: how long the step really held.
    step_result(std::chrono::nanoseconds held, std::vector<cgroup_report> cgroups)
        : held_(held), cgroups_(std::move(cgroups)) {
        const auto total = cpu_time();
        for (cgroup_report& c : cgroups_)
            c.step_cpu_time_ = total;
    }

    /// How long it really held.
    [[nodiscard]] std::chrono::nanoseconds held() const { return held_; }
    [[nodiscard]] const std::vector<cgroup_report>& cgroups() const { return cgroups_; }
    /// The cgroup of that name, or null.
    [[nodiscard]] const cgroup_report* cgroup(std::string_view name) const {
        for (const cgroup_report& c : cgroups_)
            if (c.name() == name)
                return &c;
        return nullptr;
    }

    [[nodiscard]] std::uint64_t iterations() const {
        return detail::sum_of<std::uint64_t>(cgroups_, &cgroup_report::iterations);
    }
    [[nodiscard]] std::chrono::nanoseconds cpu_time() const {
        return detail::sum_of<std::chrono::nanoseconds>(cgroups_, &cgroup_report::cpu_time);
    }
    [[nodiscard]] int worker_count() const {
        return detail::sum_of<int>(cgroups_, &cgroup_report::worker_count);
    }
    [[nodiscard]] int completed_workers() const {
        return detail::sum_of<int>(cgroups_, &cgroup_report::completed_workers);
    }
    [[nodiscard]] bool all_completed() const { return completed_workers() == worker_count(); }

    [[nodiscard]] auto begin() const { return cgroups_.begin(); }
    [[nodiscard]] auto end() const { return cgroups_.end(); }
    [[nodiscard]] std::size_t size() const { return cgroups_.size(); }
    [[nodiscard]] bool empty() const { return cgroups_.empty(); }

private:
    std::chrono::nanoseconds held_{};
    std::vector<cgroup_report> cgroups_{};
};

struct scenario_result {
    std::vector<step_result> steps{};

    [[nodiscard]] std::uint64_t iterations() const {
        return detail::sum_of<std::uint64_t>(steps, &step_result::iterations);
    }
    [[nodiscard]] std::chrono::nanoseconds cpu_time() const {
        return detail::sum_of<std::chrono::nanoseconds>(steps, &step_result::cpu_time);
    }
    /// Of all steps together; each step has workers of its own.
    [[nodiscard]] int worker_count() const {
        return detail::sum_of<int>(steps, &step_result::worker_count);
    }
    [[nodiscard]] int completed_workers() const {
        return detail::sum_of<int>(steps, &step_result::completed_workers);
    }
    [[nodiscard]] bool all_completed() const { return completed_workers() == worker_count(); }

    [[nodiscard]] auto begin() const { return steps.begin(); }
    [[nodiscard]] auto end() const { return steps.end(); }
    [[nodiscard]] std::size_t size() const { return steps.size(); }
    [[nodiscard]] bool empty() const { return steps.empty(); }
};

}  // namespace ktstr
