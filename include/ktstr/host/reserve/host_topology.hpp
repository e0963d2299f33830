// SPDX-License-Identifier: MIT
// This host's CPUs as sysfs tells them: which last-level cache, NUMA node and core each belongs to.
// A host that tells nothing (many containers) counts as one LLC in one node. Host side.
#pragma once

#include <ktstr/topology/cpu_set.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

struct host_cpu {
    int cpu = 0;
    int llc = 0;   ///< the kernel's number of the cache; the same in every process of the host
    int node = 0;  ///< NUMA node
    int core = 0;  ///< the lowest CPU of its core

    friend bool operator==(const host_cpu&, const host_cpu&) = default;
};

struct host_topology {
    std::vector<host_cpu> cpus;  ///< those this process may use, in rising order
    std::map<std::pair<int, int>, int> distances = {};

    [[nodiscard]] int distance(int from, int to) const {
        const auto at = distances.find({from, to});
        return at != distances.end() ? at->second : from == to ? 10 : 20;
    }
    [[nodiscard]] const host_cpu* find(int cpu) const {
        for (const auto& c : cpus)
            if (c.cpu == cpu)
                return &c;
        return nullptr;
    }
    /// The LLCs that have a CPU here, in rising order.
    [[nodiscard]] std::vector<int> llcs() const {
        std::vector<int> ids;
        for (const auto& c : cpus)
            ids.push_back(c.llc);
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        return ids;
    }
    [[nodiscard]] std::vector<host_cpu> cpus_of_llc(int llc) const {
        std::vector<host_cpu> found;
        for (const auto& c : cpus)
            if (c.llc == llc)
                found.push_back(c);
        return found;
    }
    /// The nodes of some CPUs, in rising order.
    [[nodiscard]] std::vector<int> nodes_of(const std::vector<int>& some) const {
        std::vector<int> nodes;
        for (const int cpu : some)
            if (const auto* c = find(cpu))
                nodes.push_back(c->node);
        std::sort(nodes.begin(), nodes.end());
        nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
        return nodes;
    }
};

/// The kernel's list form ("0-3,8") as numbers. Not ktstr::cpu_set, which ends at the largest guest;
/// a host may be larger. Nothing for anything that is no list.
[[nodiscard]] inline std::optional<std::vector<int>> parse_number_list(std::string_view text) {
    std::vector<int> numbers;
    if (!read_number_list(text, 65'536, [&numbers](int first, int last) {
            for (int n = first; n <= last; ++n)
                numbers.push_back(n);
        }))
        return std::nullopt;
    return numbers;
}

namespace detail {

inline std::optional<std::string> first_line_of(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string line;
    if (!std::getline(in, line))
        return std::nullopt;
    return line;
}

inline std::optional<int> number_in(const std::filesystem::path& file) {
    const auto line = first_line_of(file);
    const auto list = line ? parse_number_list(*line) : std::nullopt;
    return list && list->size() == 1 ? std::optional(list->front()) : std::nullopt;
}

/// "cpu12" -> 12 for prefix "cpu".
inline std::optional<int> number_behind(std::string_view prefix, const std::string& name) {
    if (!name.starts_with(prefix))
        return std::nullopt;
    const auto list = parse_number_list(std::string_view(name).substr(prefix.size()));
    return list && list->size() == 1 ? std::optional(list->front()) : std::nullopt;
}

/// The number behind `prefix` of each entry of a directory.
inline std::vector<int> numbered_entries(const std::filesystem::path& directory,
                                         std::string_view prefix) {
    std::vector<int> numbers;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(directory, failed))
        if (const auto n = number_behind(prefix, entry.path().filename().string()))
            numbers.push_back(*n);
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

struct last_cache {
    int level = 0;
    std::optional<int> id;
    int lowest_cpu = 0;
};

inline std::optional<last_cache> last_cache_of(const std::filesystem::path& cpu_directory,
                                               int cpu) {
    std::optional<last_cache> found;
    for (const int index : numbered_entries(cpu_directory / "cache", "index")) {
        const auto cache = cpu_directory / "cache" / ("index" + std::to_string(index));
        const auto level = number_in(cache / "level");
        if (!level || first_line_of(cache / "type") == "Instruction" ||
            (found && found->level >= *level))
            continue;
        const auto line = first_line_of(cache / "shared_cpu_list");
        const auto sharing = line ? parse_number_list(*line) : std::nullopt;
        found = last_cache{*level, number_in(cache / "id"),
                           sharing && !sharing->empty() ? sharing->front() : cpu};
    }
    return found;
}

}  // namespace detail

/// Reads sysfs for the CPUs this process may use. Every process of a host must call an LLC by the
/// same number whatever CPUs it may use itself, so all CPUs decide how LLCs are numbered.
[[nodiscard]] inline host_topology read_host_topology(
    const std::vector<int>& allowed, const std::filesystem::path& system = "/sys/devices/system") {
    std::map<int, detail::last_cache> caches;
    bool by_id = true;
    std::optional<int> level;
    for (const int cpu : detail::numbered_entries(system / "cpu", "cpu")) {
        const auto cache =
            detail::last_cache_of(system / "cpu" / ("cpu" + std::to_string(cpu)), cpu);
        if (!cache)
            continue;
        // Where some CPUs end at L2 and others at L3, the kernel's numbers of the two overlap.
        by_id = by_id && cache->id && (!level || *level == cache->level);
        level = cache->level;
        caches[cpu] = *cache;
    }
    std::map<int, int> node_of;
    host_topology host;
    const auto nodes = detail::numbered_entries(system / "node", "node");
    for (const int node : nodes) {
        const auto directory = system / "node" / ("node" + std::to_string(node));
        if (const auto line = detail::first_line_of(directory / "cpulist"))
            for (const int cpu : parse_number_list(*line).value_or(std::vector<int>{}))
                node_of[cpu] = node;
        std::ifstream distances(directory / "distance");
        for (std::size_t to = 0, value = 0; to < nodes.size() && distances >> value; ++to)
            host.distances[{node, nodes[to]}] = static_cast<int>(value);
    }
    for (const int cpu : allowed) {
        host_cpu c{.cpu = cpu, .core = cpu};
        if (const auto at = caches.find(cpu); at != caches.end())
            c.llc = by_id ? *at->second.id : at->second.lowest_cpu;
        if (const auto at = node_of.find(cpu); at != node_of.end())
            c.node = at->second;
        const auto siblings = detail::first_line_of(system / "cpu" / ("cpu" + std::to_string(cpu)) /
                                                    "topology" / "thread_siblings_list");
        if (const auto list = siblings ? parse_number_list(*siblings) : std::nullopt;
            list && !list->empty())
            c.core = list->front();
        host.cpus.push_back(c);
    }
    std::sort(host.cpus.begin(), host.cpus.end(),
              [](const host_cpu& a, const host_cpu& b) { return a.cpu < b.cpu; });
    return host;
}

}  // namespace ktstr::host
