// SPDX-License-Identifier: MIT
// The vCPU threads of a running machine as the host's scheduler sees them: where they may run, and
// how long they waited for a CPU. The second is the host's own witness of the guest's steal time.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/vm/qmp.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/types.h>

namespace ktstr::host {

/// The host CPUs this process may use.
[[nodiscard]] inline std::vector<int> allowed_cpus() {
    std::vector<int> cpus;
    // The kernel refuses a set smaller than its own, so room for the largest machine it supports.
    cpu_set_t* set = CPU_ALLOC(8192);
    const auto size = CPU_ALLOC_SIZE(8192);
    CPU_ZERO_S(size, set);
    if (::sched_getaffinity(0, size, set) == 0)
        for (int cpu = 0; cpu < 8192; ++cpu)
            if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, set))
                cpus.push_back(cpu);
    CPU_FREE(set);
    return cpus;
}

/// Puts every vCPU thread on the same host CPUs.
[[nodiscard]] inline result<void> mask_threads(const std::vector<vcpu_thread>& threads,
                                               const std::vector<int>& cpus) {
    cpu_set_t* set = CPU_ALLOC(8192);
    const auto size = CPU_ALLOC_SIZE(8192);
    CPU_ZERO_S(size, set);
    for (const int cpu : cpus)
        CPU_SET_S(static_cast<std::size_t>(cpu), size, set);
    result<void> done;
    for (const auto& thread : threads)
        if (::sched_setaffinity(thread.thread_id, size, set) != 0) {
            done = system_error("mask vCPU " + std::to_string(thread.index) + " onto",
                                std::to_string(cpus.size()) + " host CPUs");
            break;
        }
    CPU_FREE(set);
    return done;
}

/// The threads behind the vCPUs, each once: emulation can run all of them in one.
[[nodiscard]] inline std::vector<int> thread_ids(const std::vector<vcpu_thread>& threads) {
    std::vector<int> ids;
    for (const auto& thread : threads)
        if (std::find(ids.begin(), ids.end(), thread.thread_id) == ids.end())
            ids.push_back(thread.thread_id);
    return ids;
}

/// Nanoseconds the vCPU threads together were runnable but not running, from the second field of
/// /proc/PID/task/TID/schedstat. Nothing on a host kernel without scheduler statistics.
[[nodiscard]] inline std::optional<std::uint64_t> waited_ns(const std::vector<vcpu_thread>& threads,
                                                            pid_t process) {
    if (threads.empty())
        return std::nullopt;
    std::uint64_t sum = 0;
    for (const int thread : thread_ids(threads)) {
        const auto path =
            "/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/schedstat";
        std::FILE* file = std::fopen(path.c_str(), "re");
        if (file == nullptr)
            return std::nullopt;
        unsigned long long ran = 0, waited = 0;
        const int fields = std::fscanf(file, "%llu %llu", &ran, &waited);
        std::fclose(file);
        if (fields != 2)
            return std::nullopt;
        sum += waited;
    }
    return sum;
}

}  // namespace ktstr::host
