// SPDX-License-Identifier: MIT
// What performance mode asks of QEMU beside CPUs of the machine's own: memory from the nodes of those
// CPUs, in 2 MiB pages where enough are free, and vCPUs that keep their host CPU when idle. What the
// host does not have is a note, because the measurement still counts, only less. Host side.
#pragma once

#include <ktstr/host/reserve/host_memory.hpp>
#include <ktstr/host/vm/machine.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::host {

/// Sets the machine up. `nodes`: the host nodes behind each node of the machine. Returns notes.
[[nodiscard]] inline std::vector<std::string> dedicate(
    machine& m, const std::vector<std::vector<int>>& nodes,
    const std::filesystem::path& system = "/sys/devices/system") {
    std::vector<std::string> notes;
    std::error_code failed;
    // A kernel without NUMA has no node to bind to, and needs none.
    if (std::filesystem::exists(system / "node" / "node0", failed))
        m.host_nodes = nodes;
    m.dedicated = true;
    // Pages are whole, and each of the machine's nodes finds its own where it is bound to.
    const int step = 2 * m.topology.numa_nodes;
    const int rounded = (m.memory_mib + step - 1) / step * step;
    const auto for_each = static_cast<std::uint64_t>(rounded / step);
    std::map<int, std::uint64_t> free;
    std::uint64_t missing = 0;
    for (const auto& some : nodes) {
        auto wanted = for_each;
        for (const int node : some) {
            if (!free.contains(node))
                free[node] =
                    detail::number_of_file(system / "node" / ("node" + std::to_string(node)) /
                                           "hugepages/hugepages-2048kB/free_hugepages")
                        .value_or(0);
            const auto taken = std::min(wanted, free[node]);
            free[node] -= taken;
            wanted -= taken;
        }
        missing += wanted;
    }
    if (missing == 0) {
        m.hugepages = true;
        m.memory_mib = rounded;
    } else {
        notes.push_back(
            "performance_mode without huge pages: " + std::to_string(for_each * nodes.size()) +
            " of 2 MiB are needed on the machine's nodes and " + std::to_string(missing) +
            " are not free; raise vm.nr_hugepages");
    }
    if (m.accel != accelerator::kvm)
        notes.push_back(
            "performance_mode under emulation: its CPUs are its own, and its speed says "
            "nothing of real hardware");
    return notes;
}

}  // namespace ktstr::host
