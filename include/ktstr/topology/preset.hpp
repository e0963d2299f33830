// SPDX-License-Identifier: MIT
// Shapes with a name: small ones, odd ones, SMT and NUMA ones, and the largest a machine can have.
// A catalogue to sweep a scheduler over, not a list of real processors.
#pragma once

#include <ktstr/topology/topology.hpp>

#include <array>
#include <optional>
#include <string_view>

namespace ktstr {

struct preset {
    std::string_view name;
    topology shape;
};

inline constexpr std::array presets{
    preset{"tiny-1llc", {.numa_nodes = 1, .llcs = 1, .cores = 4, .threads = 1}},
    preset{"tiny-2llc", {.numa_nodes = 1, .llcs = 2, .cores = 2, .threads = 1}},
    preset{"odd-3llc", {.numa_nodes = 1, .llcs = 3, .cores = 3, .threads = 1}},
    preset{"odd-5llc", {.numa_nodes = 1, .llcs = 5, .cores = 3, .threads = 1}},
    preset{"odd-7llc", {.numa_nodes = 1, .llcs = 7, .cores = 2, .threads = 1}},
    preset{"smt-2llc", {.numa_nodes = 1, .llcs = 2, .cores = 2, .threads = 2}},
    preset{"smt-3llc", {.numa_nodes = 1, .llcs = 3, .cores = 2, .threads = 2}},
    preset{"medium-4llc", {.numa_nodes = 1, .llcs = 4, .cores = 4, .threads = 2}},
    preset{"medium-8llc", {.numa_nodes = 1, .llcs = 8, .cores = 4, .threads = 2}},
    preset{"large-4llc", {.numa_nodes = 1, .llcs = 4, .cores = 16, .threads = 2}},
    preset{"large-8llc", {.numa_nodes = 1, .llcs = 8, .cores = 8, .threads = 2}},
    preset{"near-max-llc", {.numa_nodes = 1, .llcs = 15, .cores = 8, .threads = 2}},
    preset{"max-cpu", {.numa_nodes = 1, .llcs = 14, .cores = 9, .threads = 2}},
    preset{"medium-4llc-nosmt", {.numa_nodes = 1, .llcs = 4, .cores = 8, .threads = 1}},
    preset{"medium-8llc-nosmt", {.numa_nodes = 1, .llcs = 8, .cores = 8, .threads = 1}},
    preset{"large-4llc-nosmt", {.numa_nodes = 1, .llcs = 4, .cores = 32, .threads = 1}},
    preset{"large-8llc-nosmt", {.numa_nodes = 1, .llcs = 8, .cores = 16, .threads = 1}},
    preset{"near-max-llc-nosmt", {.numa_nodes = 1, .llcs = 15, .cores = 16, .threads = 1}},
    preset{"max-cpu-nosmt", {.numa_nodes = 1, .llcs = 14, .cores = 18, .threads = 1}},
    preset{"numa2-4llc", {.numa_nodes = 2, .llcs = 4, .cores = 4, .threads = 1}},
    preset{"numa2-8llc", {.numa_nodes = 2, .llcs = 8, .cores = 8, .threads = 2}},
    preset{"numa2-8llc-nosmt", {.numa_nodes = 2, .llcs = 8, .cores = 16, .threads = 1}},
    preset{"numa4-8llc", {.numa_nodes = 4, .llcs = 8, .cores = 4, .threads = 1}},
    preset{"numa4-12llc", {.numa_nodes = 4, .llcs = 12, .cores = 8, .threads = 2}},
};

[[nodiscard]] constexpr std::optional<topology> find_preset(std::string_view name) {
    for (const preset& p : presets)
        if (p.name == name)
            return p.shape;
    return std::nullopt;
}

}  // namespace ktstr
