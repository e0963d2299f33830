// SPDX-License-Identifier: MIT
// A cgroup as a test describes it: a name and the groups of workers that live in it. Data with a
// builder in front; the guest makes the directory and forks the workers.
#pragma once

#include <ktstr/scenario/work.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ktstr {

struct cgroup_def {
    /// How many workers a work group has when neither it nor its cgroup says, if its kind of work does not need others.
    static constexpr int default_workers = 2;

    std::string name{};
    std::optional<int> worker_count{};     ///< for each work group that does not say its own
    std::vector<work_spec> work_groups{};  ///< empty: one group of spin_wait
    /// Whether the test passes although a worker dies, or never does one turn of its work. A test
    /// that says so judges its workers itself, from the result.
    bool may_fail = false;

    /// Workers of each work group that does not set its own number.
    cgroup_def& workers(int count) & {
        worker_count = count;
        return *this;
    }
    [[nodiscard]] cgroup_def workers(int count) && { return std::move(workers(count)); }

    /// Adds a group of workers; say it again for a second group beside the first.
    cgroup_def& work(work_kind kind) & { return work(work_spec{.kind = kind}); }
    cgroup_def& work(work::sequence kinds) & {
        return work(work_spec{.phases = std::move(kinds.phases)});
    }
    cgroup_def& work(work_spec spec) & {
        work_groups.push_back(std::move(spec));
        return *this;
    }
    [[nodiscard]] cgroup_def work(work_kind kind) && { return std::move(work(kind)); }
    [[nodiscard]] cgroup_def work(work::sequence kinds) && {
        return std::move(work(std::move(kinds)));
    }
    [[nodiscard]] cgroup_def work(work_spec spec) && { return std::move(work(std::move(spec))); }

    /// What becomes of these workers is for the test to judge; the default is that one that dies or
    /// never works fails it.
    cgroup_def& workers_may_fail() & {
        may_fail = true;
        return *this;
    }
    [[nodiscard]] cgroup_def workers_may_fail() && { return std::move(workers_may_fail()); }

    /// The work groups with every default filled in: never empty, every `workers` set.
    [[nodiscard]] std::vector<work_spec> resolved_groups() const {
        std::vector<work_spec> groups = work_groups;
        if (groups.empty())
            groups.emplace_back();
        for (work_spec& group : groups)
            if (!group.workers)
                group.workers =
                    worker_count.value_or(group.members() > 1 ? group.members() : default_workers);
        return groups;
    }

    friend bool operator==(const cgroup_def&, const cgroup_def&) = default;
};

}  // namespace ktstr
