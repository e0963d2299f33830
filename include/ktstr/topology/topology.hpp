// SPDX-License-Identifier: MIT
// The machine a test asks for: NUMA nodes, LLCs, cores, threads and NUMA distances, as constexpr
// values. Says what was asked for; whether the guest really looks so is for guest/ to prove.
// Used on both sides.
#pragma once

#include <ktstr/topology/cpu_set.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ktstr {

/// The most vCPUs one machine may have: above it QEMU wants an interrupt remapper and APIC ids
/// wider than 8 bits.
inline constexpr int max_vcpus = 252;

/// Distances between NUMA nodes as ACPI SLIT has them: 10 to oneself, 11 to 254 to others.
/// A pair that nobody set has the default remote distance. Always symmetric.
class numa_distances {
public:
    static constexpr int max_nodes = 8;  ///< for pairs; the uniform distance covers any number
    static constexpr int local = 10;
    static constexpr int default_remote = 20;

    constexpr numa_distances() = default;

    /// Every pair of different nodes is `remote` apart.
    [[nodiscard]] static constexpr numa_distances uniform(int remote) {
        numa_distances d;
        d.remote_ = checked(remote);
        return d;
    }

    /// Both directions at once. Throws std::out_of_range for a node >= max_nodes, from == to,
    /// or a distance outside 11 to 254.
    constexpr numa_distances& set(int from, int to, int distance) {
        if (from < 0 || from >= max_nodes || to < 0 || to >= max_nodes || from == to)
            throw std::out_of_range("ktstr::numa_distances: pairs are of two different nodes 0-7");
        pairs_[index(from, to)] = pairs_[index(to, from)] = checked(distance);
        return *this;
    }

    [[nodiscard]] constexpr int distance(int from, int to) const {
        if (from == to)
            return local;
        if (from >= 0 && from < max_nodes && to >= 0 && to < max_nodes &&
            pairs_[index(from, to)] != 0)
            return pairs_[index(from, to)];
        return remote_;
    }

    friend constexpr bool operator==(const numa_distances&, const numa_distances&) = default;

private:
    static constexpr std::uint8_t checked(int distance) {
        if (distance <= local || distance > 254)
            throw std::out_of_range("ktstr::numa_distances: a remote distance is 11 to 254");
        return static_cast<std::uint8_t>(distance);
    }
    static constexpr std::size_t index(int from, int to) {
        return static_cast<std::size_t>(from * max_nodes + to);
    }

    std::array<std::uint8_t, max_nodes * max_nodes> pairs_{};  // 0: nobody set it
    std::uint8_t remote_ = default_remote;
};

/// A machine's shape. CPUs are numbered as QEMU and Linux do it: node by node, in it LLC by LLC,
/// core by core, and the threads of a core side by side. Queries for a CPU, LLC or node that is not
/// there throw std::out_of_range.
struct topology {
    int numa_nodes = 1;
    int llcs = 1;     ///< of the whole machine, spread evenly over the nodes
    int cores = 2;    ///< per LLC
    int threads = 1;  ///< per core
    numa_distances distances{};

    [[nodiscard]] constexpr int total_cpus() const { return llcs * cores * threads; }
    [[nodiscard]] constexpr int num_llcs() const { return llcs; }
    [[nodiscard]] constexpr int num_numa_nodes() const { return numa_nodes; }
    [[nodiscard]] constexpr int num_cores() const { return llcs * cores; }

    [[nodiscard]] constexpr cpu_set all_cpus() const { return cpu_set::range(0, total_cpus() - 1); }
    [[nodiscard]] constexpr cpu_set cpus_in_llc(int llc) const {
        return block(llc, llcs, cores * threads, "LLC");
    }
    [[nodiscard]] constexpr cpu_set cpus_in_node(int node) const {
        return block(node, numa_nodes, llcs / numa_nodes * cores * threads, "NUMA node");
    }
    /// All threads of the CPU's core, the CPU itself among them.
    [[nodiscard]] constexpr cpu_set smt_siblings(int cpu) const {
        return block(core_of(cpu), num_cores(), threads, "core");
    }

    [[nodiscard]] constexpr int core_of(int cpu) const { return checked_cpu(cpu) / threads; }
    [[nodiscard]] constexpr int llc_of(int cpu) const {
        return checked_cpu(cpu) / (cores * threads);
    }
    [[nodiscard]] constexpr int node_of(int cpu) const { return node_of_llc(llc_of(cpu)); }
    [[nodiscard]] constexpr int node_of_llc(int llc) const {
        return checked(llc, llcs, "LLC") / (llcs / numa_nodes);
    }
    [[nodiscard]] constexpr int distance(int from_node, int to_node) const {
        return distances.distance(checked(from_node, numa_nodes, "NUMA node"),
                                  checked(to_node, numa_nodes, "NUMA node"));
    }

    friend constexpr bool operator==(const topology&, const topology&) = default;

private:
    static constexpr int checked(int index, int limit, const char* what) {
        if (index < 0 || index >= limit)
            no_such(index, limit, what);
        return index;
    }
    constexpr int checked_cpu(int cpu) const { return checked(cpu, total_cpus(), "CPU"); }
    static constexpr cpu_set block(int index, int limit, int size, const char* what) {
        checked(index, limit, what);
        return cpu_set::range(index * size, index * size + size - 1);
    }
    [[noreturn]] static void no_such(int index, int limit, const char* what) {
        throw std::out_of_range("ktstr::topology: no " + std::string(what) + ' ' +
                                std::to_string(index) + ", there are " + std::to_string(limit));
    }
};

/// A topology as people read and type it, "1n2l4c1t": a value without a heap.
class topology_text {
public:
    constexpr explicit topology_text(const topology& t) {
        put(t.numa_nodes, 'n');
        put(t.llcs, 'l');
        put(t.cores, 'c');
        put(t.threads, 't');
    }
    [[nodiscard]] constexpr std::string_view view() const { return {data_.data(), size_}; }
    constexpr operator std::string_view() const { return view(); }
    [[nodiscard]] std::string str() const { return std::string(view()); }

    friend constexpr bool operator==(const topology_text& a, std::string_view b) {
        return a.view() == b;
    }

private:
    constexpr void put(int number, char unit) {
        std::array<char, 12> digits{};
        std::size_t n = 0;
        auto rest = static_cast<long long>(number);
        const bool negative = rest < 0;
        for (rest = negative ? -rest : rest; rest > 0 || n == 0; rest /= 10)
            digits[n++] = static_cast<char>('0' + rest % 10);
        if (negative)
            digits[n++] = '-';
        while (n > 0)
            data_[size_++] = digits[--n];
        data_[size_++] = unit;
    }

    std::array<char, 48> data_{};  // four ints of at most 11 characters and their units
    std::size_t size_ = 0;
};

[[nodiscard]] constexpr topology_text to_text(const topology& t) {
    return topology_text(t);
}

/// Why no machine can have this shape, as a sentence, or "" when one can.
[[nodiscard]] constexpr std::string_view topology_problem(const topology& t) {
    if (t.numa_nodes < 1 || t.llcs < 1 || t.cores < 1 || t.threads < 1)
        return "numa_nodes, llcs, cores and threads start at 1";
    if (t.llcs % t.numa_nodes != 0)
        return "llcs must be a multiple of numa_nodes";
    // One factor at a time, so that no product overflows.
    if (t.llcs > max_vcpus || t.cores > max_vcpus || t.threads > max_vcpus ||
        t.llcs * t.cores > max_vcpus || t.llcs * t.cores * t.threads > max_vcpus)
        return "a machine has at most 252 CPUs";
    return {};
}

/// Reads "1n2l4c1t": all four parts, in this order, nothing around them. Whether a machine can have
/// that shape is not asked.
[[nodiscard]] constexpr std::optional<topology> read_topology(std::string_view text) {
    std::size_t at = 0;
    const auto part = [&](char unit) -> int {  // 0: not a positive number followed by its unit
        int value = 0;
        const std::size_t start = at;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
            value = value * 10 + (text[at] - '0');
            if (value > 1'000'000)
                return 0;
        }
        // "01l" is refused: one shape has one spelling.
        if (at == start || text[start] == '0' || at == text.size() || text[at] != unit)
            return 0;
        ++at;
        return value;
    };
    topology t;
    t.numa_nodes = part('n');
    t.llcs = part('l');
    t.cores = part('c');
    t.threads = part('t');
    if (at != text.size() || t.numa_nodes < 1 || t.llcs < 1 || t.cores < 1 || t.threads < 1)
        return std::nullopt;
    return t;
}

/// The same, and only shapes that a machine can have (see topology_problem).
[[nodiscard]] constexpr std::optional<topology> parse_topology(std::string_view text) {
    const auto t = read_topology(text);
    return t && topology_problem(*t).empty() ? t : std::nullopt;
}

}  // namespace ktstr
