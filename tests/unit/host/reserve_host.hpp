// SPDX-License-Identifier: MIT
// Hosts for the tests of host/reserve: as values, and as sysfs trees in a scratch directory.
#pragma once

#include <ktstr/host/reserve/host_topology.hpp>

#include <filesystem>
#include <string>

#include "scratch_directory.hpp"

namespace ktstr::host::unit {

/// A regular host: CPUs are numbered node by node, LLC by LLC, core by core.
inline host_topology regular_host(int nodes, int llcs_per_node, int cores, int threads) {
    host_topology host;
    int cpu = 0;
    for (int node = 0; node < nodes; ++node)
        for (int llc = 0; llc < llcs_per_node; ++llc)
            for (int core = 0; core < cores; ++core)
                for (int thread = 0; thread < threads; ++thread, ++cpu)
                    host.cpus.push_back({.cpu = cpu,
                                         .llc = node * llcs_per_node + llc,
                                         .node = node,
                                         .core = cpu - thread});
    for (int from = 0; from < nodes; ++from)
        for (int to = 0; to < nodes; ++to)
            host.distances[{from, to}] = from == to ? 10 : 20 + (from > to ? from - to : to - from);
    return host;
}

/// The same as sysfs shows it.
inline void write_sysfs(const scratch_directory& scratch, const host_topology& host) {
    const auto list = [&](auto same) {
        std::vector<int> cpus;
        for (const auto& c : host.cpus)
            if (same(c))
                cpus.push_back(c.cpu);
        return number_list(cpus) + '\n';
    };
    for (const auto& c : host.cpus) {
        const std::filesystem::path cpu = "cpu/cpu" + std::to_string(c.cpu);
        const auto cache = [&](int index, int level, const char* type, int id,
                               const std::string& shared) {
            const auto directory = cpu / "cache" / ("index" + std::to_string(index));
            scratch.write(directory / "level", std::to_string(level) + '\n');
            scratch.write(directory / "type", std::string(type) + '\n');
            scratch.write(directory / "id", std::to_string(id) + '\n');
            scratch.write(directory / "shared_cpu_list", shared);
        };
        const auto core = list([&](const host_cpu& o) { return o.core == c.core; });
        cache(0, 1, "Data", c.core, core);
        cache(1, 1, "Instruction", c.core, core);
        cache(2, 2, "Unified", c.core, core);
        cache(3, 3, "Unified", c.llc, list([&](const host_cpu& o) { return o.llc == c.llc; }));
        scratch.write(cpu / "topology/thread_siblings_list", core);
        scratch.write("node/node" + std::to_string(c.node) + "/cpulist",
                      list([&](const host_cpu& o) { return o.node == c.node; }));
    }
    int nodes = 0;
    for (const auto& c : host.cpus)
        nodes = std::max(nodes, c.node + 1);
    for (int from = 0; from < nodes; ++from) {
        std::string distances;
        for (int to = 0; to < nodes; ++to)
            distances += std::to_string(host.distance(from, to)) + ' ';
        scratch.write("node/node" + std::to_string(from) + "/distance", distances + '\n');
    }
}

}  // namespace ktstr::host::unit
