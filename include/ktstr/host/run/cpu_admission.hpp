// SPDX-License-Identifier: MIT
// Which tests may run side by side: as many as the host's CPUs carry, counted in the CPUs each test
// plans for, so that nothing is oversubscribed that did not ask to be. Within one process; between
// processes it is for whoever starts them (ctest's PROCESSORS). Host side.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

namespace ktstr::host {

class cpu_admission {
public:
    cpu_admission(std::vector<int> cpus, int jobs_limit) : free_jobs_(jobs_limit) {
        for (const int cpu : cpus)
            users_[cpu] = 0;
        free_ = cpus.size();
    }

    /// A test's share of the host until it is given back. Holds `cpus`: the least used ones, for
    /// masking.
    struct share {
        std::vector<int> cpus;
    };

    /// Waits until `wanted` CPUs are free, or the host is: a test larger than the host runs alone.
    [[nodiscard]] share enter(std::size_t wanted) {
        std::unique_lock lock(mutex_);
        wanted = std::clamp<std::size_t>(wanted, 1, users_.size());
        changed_.wait(lock, [&] { return free_ >= wanted && free_jobs_ > 0; });
        free_ -= wanted;
        --free_jobs_;
        std::vector<std::pair<int, int>> by_use;  // users, cpu
        for (const auto& [cpu, users] : users_)
            by_use.emplace_back(users, cpu);
        std::sort(by_use.begin(), by_use.end());
        share mine;
        for (std::size_t i = 0; i < wanted; ++i) {
            mine.cpus.push_back(by_use[i].second);
            ++users_[by_use[i].second];
        }
        std::sort(mine.cpus.begin(), mine.cpus.end());
        return mine;
    }

    void leave(const share& mine) {
        {
            const std::lock_guard lock(mutex_);
            for (const int cpu : mine.cpus)
                --users_[cpu];
            free_ += mine.cpus.size();
            ++free_jobs_;
        }
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<int, int> users_;
    std::size_t free_ = 0;
    int free_jobs_;
};

}  // namespace ktstr::host
