// SPDX-License-Identifier: MIT
// Which host CPUs a machine gets, decided from a picture of who holds what. Pure: the locks are
// taken, or not, by reservations.hpp. Host side.
#pragma once

#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/topology/topology.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace ktstr::host {

enum class llc_use { free, shared, exclusive };

/// Who holds what at one moment, everybody on this host counted.
struct host_use {
    std::set<int> taken_cpus = {};
    std::map<int, llc_use> llcs = {};  ///< absent: free

    [[nodiscard]] llc_use of(int llc) const {
        const auto at = llcs.find(llc);
        return at != llcs.end() ? at->second : llc_use::free;
    }
};

struct cpu_plan {
    std::vector<int> cpus;           ///< all of them, in rising order
    std::vector<int> llcs;           ///< to be held, shared unless in `own_llcs`
    std::vector<int> own_llcs = {};  ///< to be held exclusively

    // Performance mode only.
    std::vector<int> pins = {};                ///< the CPU of each vCPU
    std::optional<int> service_cpu = {};       ///< for QEMU's other threads
    std::vector<std::vector<int>> nodes = {};  ///< the host's nodes behind each node of the machine

    friend bool operator==(const cpu_plan&, const cpu_plan&) = default;
};

namespace detail {

/// Whole cores first, so that two tests seldom meet on the threads of one core.
inline std::vector<int> by_core(std::vector<host_cpu> cpus) {
    std::sort(cpus.begin(), cpus.end(), [](const host_cpu& a, const host_cpu& b) {
        return std::tuple(a.core, a.cpu) < std::tuple(b.core, b.cpu);
    });
    std::vector<int> numbers;
    for (const auto& c : cpus)
        numbers.push_back(c.cpu);
    return numbers;
}

struct llc_room {
    int id = 0;
    int node = 0;
    bool shared = false;
    std::vector<host_cpu> free;
};

inline std::vector<llc_room> rooms_of(const host_topology& host, const host_use& use) {
    std::vector<llc_room> rooms;
    for (const int id : host.llcs()) {
        if (use.of(id) == llc_use::exclusive)
            continue;
        llc_room room{.id = id, .shared = use.of(id) == llc_use::shared, .free = {}};
        for (const auto& c : host.cpus_of_llc(id)) {
            room.node = c.node;
            if (!use.taken_cpus.contains(c.cpu))
                room.free.push_back(c);
        }
        if (!room.free.empty())
            rooms.push_back(std::move(room));
    }
    return rooms;
}

}  // namespace detail

/// CPUs for a machine that shares its LLCs with other machines. It goes where others are already, so
/// that whole LLCs stay free for tests that need them: one LLC if one has room, else one node, else
/// the nearest. Nothing while there are not enough.
[[nodiscard]] inline std::optional<cpu_plan> plan_shared(const host_topology& host,
                                                         const host_use& use, std::size_t wanted) {
    auto rooms = detail::rooms_of(host, use);
    std::map<int, std::size_t> node_room;
    std::size_t total = 0;
    for (const auto& room : rooms) {
        node_room[room.node] += room.free.size();
        total += room.free.size();
    }
    if (wanted == 0 || total < wanted)
        return std::nullopt;
    const auto first_choice = [&](const detail::llc_room& room) {
        const bool fits = room.free.size() >= wanted;
        const bool node_fits = node_room[room.node] >= wanted;
        const auto size = static_cast<long>(room.free.size());
        // The tightest that fits, else the roomiest.
        return std::tuple(!fits, !node_fits, !room.shared, fits ? size : -size, room.id);
    };
    std::sort(rooms.begin(), rooms.end(),
              [&](const auto& a, const auto& b) { return first_choice(a) < first_choice(b); });
    const int home = rooms.front().node;
    std::sort(rooms.begin() + 1, rooms.end(), [&](const auto& a, const auto& b) {
        const auto nearness = [&](const detail::llc_room& room) {
            return std::tuple(room.node != home, host.distance(home, room.node), room.node,
                              !room.shared, -static_cast<long>(room.free.size()), room.id);
        };
        return nearness(a) < nearness(b);
    });
    cpu_plan plan;
    for (const auto& room : rooms) {
        if (plan.cpus.size() == wanted)
            break;
        plan.llcs.push_back(room.id);
        for (const int cpu : detail::by_core(room.free)) {
            if (plan.cpus.size() == wanted)
                break;
            plan.cpus.push_back(cpu);
        }
    }
    std::sort(plan.cpus.begin(), plan.cpus.end());
    std::sort(plan.llcs.begin(), plan.llcs.end());
    return plan;
}

namespace detail {

/// One CPU of an LLC for each vCPU of a virtual LLC: siblings to siblings, and whole cores when the
/// machine has one thread a core.
inline std::vector<int> pins_in(const std::vector<host_cpu>& cpus, const topology& machine) {
    const auto wanted = static_cast<std::size_t>(machine.cores * machine.threads);
    std::map<int, std::vector<int>> cores;
    for (const auto& c : cpus)
        cores[c.core].push_back(c.cpu);
    std::vector<int> pins;
    // In rounds: the first `threads` CPUs of each core, then the next ones, so that vCPUs share a
    // core only where the machine says so or there is no other way.
    const auto threads = static_cast<std::size_t>(machine.threads);
    for (std::size_t from = 0; pins.size() < wanted && from < cpus.size(); from += threads)
        for (const auto& [core, members] : cores)
            for (std::size_t i = from; i < members.size() && i < from + threads; ++i)
                if (pins.size() < wanted)
                    pins.push_back(members[i]);
    return pins;
}

}  // namespace detail

/// CPUs for a machine in performance mode: an LLC of the host's for each of its own, a CPU for each
/// vCPU, and one more for QEMU's other threads. LLCs of one virtual node lie in one node where they can.
[[nodiscard]] inline std::optional<cpu_plan> plan_dedicated(const host_topology& host,
                                                            const host_use& use,
                                                            const topology& machine) {
    const auto for_each_llc = static_cast<std::size_t>(machine.cores * machine.threads);
    std::map<int, std::vector<int>> eligible;  // by node
    for (const int id : host.llcs()) {
        const auto cpus = host.cpus_of_llc(id);
        if (use.of(id) == llc_use::free && cpus.size() >= for_each_llc)
            eligible[cpus.front().node].push_back(id);
    }
    cpu_plan plan;
    std::set<int> used;
    const int per_node = machine.llcs / machine.numa_nodes;
    for (int node = 0; node < machine.numa_nodes; ++node) {
        // The node with the least room that is enough, else the one with the most.
        std::vector<int> order;
        for (const auto& [id, llcs] : eligible)
            order.push_back(id);
        const int home = plan.nodes.empty() ? -1 : plan.nodes.front().front();
        std::sort(order.begin(), order.end(), [&](int a, int b) {
            const auto key = [&](int id) {
                const auto room = static_cast<int>(eligible[id].size());
                return std::tuple(room < per_node, room < per_node ? -room : room,
                                  home < 0 ? 0 : host.distance(home, id), id);
            };
            return key(a) < key(b);
        });
        std::vector<int> behind;
        for (int i = 0; i < per_node; ++i) {
            const auto from = std::find_if(order.begin(), order.end(),
                                           [&](int id) { return !eligible[id].empty(); });
            if (from == order.end())
                return std::nullopt;
            const int llc = eligible[*from].front();
            eligible[*from].erase(eligible[*from].begin());
            for (const int cpu : detail::pins_in(host.cpus_of_llc(llc), machine)) {
                plan.pins.push_back(cpu);
                used.insert(cpu);
            }
            plan.own_llcs.push_back(llc);
            behind.push_back(*from);
        }
        std::sort(behind.begin(), behind.end());
        behind.erase(std::unique(behind.begin(), behind.end()), behind.end());
        plan.nodes.push_back(std::move(behind));
    }
    plan.llcs = plan.own_llcs;
    // The service CPU: another LLC's if one has room, so that it disturbs no cache of the machine.
    for (const bool own : {false, true})
        for (const auto& c : host.cpus) {
            const bool ours =
                std::find(plan.own_llcs.begin(), plan.own_llcs.end(), c.llc) != plan.own_llcs.end();
            if (plan.service_cpu || ours != own || used.contains(c.cpu) ||
                use.taken_cpus.contains(c.cpu) || use.of(c.llc) == llc_use::exclusive)
                continue;
            plan.service_cpu = c.cpu;
            if (!ours)
                plan.llcs.push_back(c.llc);
        }
    if (!plan.service_cpu)
        return std::nullopt;
    plan.cpus = plan.pins;
    plan.cpus.push_back(*plan.service_cpu);
    std::sort(plan.cpus.begin(), plan.cpus.end());
    std::sort(plan.llcs.begin(), plan.llcs.end());
    return plan;
}

/// Why this host could never hold a machine in performance mode, with the numbers; nothing if it can.
/// `capacity`: CPUs that this run may use at a time.
[[nodiscard]] inline std::optional<std::string> dedicated_lacks(const host_topology& host,
                                                                const topology& machine,
                                                                std::size_t capacity) {
    const auto need = static_cast<std::size_t>(machine.total_cpus()) + 1;
    const auto llcs = host.llcs();
    const auto count = [](std::size_t n, const char* one) {
        return std::to_string(n) + ' ' + one + (n == 1 ? "" : "s");
    };
    if (capacity < need)
        return "performance_mode needs " + count(need, "host CPU") + " (" +
               std::to_string(need - 1) + " for vCPUs and one for QEMU), and this run may use " +
               std::to_string(capacity);
    if (llcs.size() < static_cast<std::size_t>(machine.llcs))
        return "performance_mode needs an LLC of the host's for each of the machine's " +
               std::to_string(machine.llcs) + ", and this host has " + std::to_string(llcs.size());
    if (!plan_dedicated(host, {}, machine)) {
        const auto each = static_cast<std::size_t>(machine.cores * machine.threads);
        std::size_t large = 0;
        for (const int id : llcs)
            large += host.cpus_of_llc(id).size() >= each;
        return "performance_mode needs " +
               count(static_cast<std::size_t>(machine.llcs), "host LLC") + " of " +
               count(each, "CPU") + " and a CPU beside them, and of this host's " +
               std::to_string(llcs.size()) + " LLCs " + std::to_string(large) + " are that large";
    }
    return std::nullopt;
}

}  // namespace ktstr::host
