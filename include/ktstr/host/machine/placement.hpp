// SPDX-License-Identifier: MIT
// Puts the threads of a machine where its reservation says: all vCPUs on a budget's CPUs, or each on
// its own with real-time priority. Before the guest's first instruction, read back, and what the
// host does not permit is a note. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/machine/vcpu_threads.hpp>
#include <ktstr/host/reserve/cpuset.hpp>
#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/host/vm/qmp.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sched.h>
#include <sys/types.h>

namespace ktstr::host {

/// Where the threads of a machine belong. Nothing in it: wherever the host likes.
struct placement {
    std::vector<int> mask = {};           ///< host CPUs all vCPU threads are put on
    std::vector<int> nodes = {};          ///< memory nodes beside them
    std::string cpuset_name = {};         ///< of the cgroup to try first; empty: affinity only
    std::vector<int> pins = {};           ///< performance mode: a CPU for each vCPU
    std::optional<int> service_cpu = {};  ///< performance mode: for all other threads of QEMU
};

/// What holds the threads there. Outlives the machine's process.
struct placed {
    std::unique_ptr<host::cpuset> cpuset;
    std::optional<std::string> mask;  ///< "cpuset" or "affinity"; nothing when nothing was asked
    std::vector<std::string> notes;
};

namespace detail {

inline std::vector<int> cpus_of_thread(int thread) {
    std::vector<int> cpus;
    cpu_set_t* set = CPU_ALLOC(8192);
    const auto size = CPU_ALLOC_SIZE(8192);
    CPU_ZERO_S(size, set);
    if (::sched_getaffinity(thread, size, set) == 0)
        for (int cpu = 0; cpu < 8192; ++cpu)
            if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, set))
                cpus.push_back(cpu);
    CPU_FREE(set);
    return cpus;
}

/// Puts the vCPUs into a cpuset and reads back that they are there.
[[nodiscard]] inline result<std::unique_ptr<cpuset>> into_cpuset(
    const placement& wanted, const std::vector<vcpu_thread>& vcpus) {
    auto made = cpuset::make(wanted.cpuset_name, wanted.mask, wanted.nodes);
    if (!made)
        return std::move(made).error();
    auto kept = std::make_unique<cpuset>(std::move(*made));
    for (const auto& vcpu : vcpus) {
        if (auto moved = kept->take(vcpu.thread_id); !moved)
            return std::move(moved).error();
        if (const auto seen = cpus_of_thread(vcpu.thread_id); seen != wanted.mask)
            return plain_error("keep vCPU " + std::to_string(vcpu.index) + " on",
                               number_list(wanted.mask),
                               "in its cpuset it may run on " + number_list(seen));
    }
    return kept;
}

[[nodiscard]] inline result<void> pin_thread(int thread, const std::vector<int>& cpus,
                                             const std::string& name) {
    if (auto done = mask_threads({{.index = 0, .thread_id = thread, .qom_path = {}}}, cpus); !done)
        return plain_error("put " + name + " on host CPU", number_list(cpus), done.error().reason);
    if (const auto seen = cpus_of_thread(thread); seen != cpus)
        return plain_error("put " + name + " on host CPU", number_list(cpus),
                           "it may run on " + number_list(seen));
    return {};
}

}  // namespace detail

/// Places the threads of process `qemu`. An error: the machine would not be where it must be.
[[nodiscard]] inline result<placed> place_threads(const placement& wanted,
                                                  const std::vector<vcpu_thread>& vcpus,
                                                  pid_t qemu) {
    placed done;
    if (!wanted.mask.empty()) {
        if (!wanted.cpuset_name.empty()) {
            auto inside = detail::into_cpuset(wanted, vcpus);
            if (inside) {
                done.cpuset = std::move(*inside);
                done.mask = "cpuset";
                return done;
            }
        }
        if (auto masked = mask_threads(vcpus, wanted.mask); !masked)
            return std::move(masked).error();
        done.mask = "affinity";
        return done;
    }
    if (wanted.pins.empty())
        return done;
    if (wanted.pins.size() != vcpus.size())
        return plain_error("pin the vCPUs", {},
                           "there are " + std::to_string(vcpus.size()) + " and CPUs for " +
                               std::to_string(wanted.pins.size()));
    // All threads, then the vCPUs again: what QEMU starts later inherits from one of these.
    std::vector<int> others;
    std::error_code failed;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(qemu) + "/task", failed))
        if (const auto thread = detail::number_behind("", entry.path().filename().string());
            thread && std::none_of(vcpus.begin(), vcpus.end(),
                                   [&](const auto& v) { return v.thread_id == *thread; }))
            others.push_back(*thread);
    int refused = 0;
    const auto real_time = [&refused](int thread, int priority) {
        const ::sched_param parameters{.sched_priority = priority};
        if (::sched_setscheduler(thread, SCHED_FIFO, &parameters) != 0)
            refused = errno;
    };
    for (const int thread : others) {
        if (wanted.service_cpu)
            if (auto pinned = detail::pin_thread(thread, {*wanted.service_cpu}, "QEMU"); !pinned)
                return std::move(pinned).error();
        real_time(thread, 2);
    }
    for (std::size_t i = 0; i < vcpus.size(); ++i) {
        if (auto pinned = detail::pin_thread(vcpus[i].thread_id, {wanted.pins[i]},
                                             "vCPU " + std::to_string(i));
            !pinned)
            return std::move(pinned).error();
        real_time(vcpus[i].thread_id, 1);
    }
    done.mask = "affinity";
    if (refused != 0)
        done.notes.push_back(std::string("performance_mode without real-time priority: ") +
                             std::strerror(refused) + "; raise RLIMIT_RTPRIO to 2 or run as root");
    return done;
}

}  // namespace ktstr::host
