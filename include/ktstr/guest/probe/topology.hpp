// SPDX-License-Identifier: MIT
// What the kernel believes this machine looks like, read from sysfs, and the proof that it is the
// machine the test asked for. Nothing is taken from the command line or from CPUID: the scheduler
// under test sees what the kernel sees. Guest side.
//
// Cost: two reads per CPU (LLC siblings, SMT siblings), two per node, and the cache levels of the
// first CPU alone. Every CPU's own sets are read, although one member of a set should speak for
// all of it, because "should" is what is to be proven: the kernel keeps these masks per CPU. The
// level of the cache is not read again for each CPU, since the vCPUs of one machine are of one
// model and the kernel lists their caches in one order; a CPU where that index is missing is
// searched like the first. Package, die and core numbers are not read: they name the sets, and it
// is the sets that the scheduler works with.
#pragma once

#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/topology/topology.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

namespace ktstr::guest {

struct observed_cpu {
    int id = 0;
    std::optional<cpu_set> llc_siblings;  ///< absent: the kernel lists no unified cache
    cpu_set smt_siblings;
};

struct observed_node {
    int id = 0;
    cpu_set cpus;
    std::vector<std::uint32_t> distances;  ///< to the online nodes in rising order; empty: unknown
};

struct observed_machine {
    cpu_set present;
    cpu_set online;
    std::vector<observed_cpu> cpus;    ///< the online ones, in rising order
    std::vector<observed_node> nodes;  ///< one made-up node where the kernel has no NUMA
    bool has_numa = false;             ///< the kernel lists nodes
    int llc_level = 0;                 ///< of the first CPU's last-level cache, 0: none
    std::string unreadable;            ///< first thing that could not be read, empty: all was
};

namespace detail {

inline constexpr int most_cache_levels = 16;

/// An attribute whole. sysfs gives at most a page and all of it at once, so the second read that
/// would only say "end of file" is saved: under emulation that is a quarter of the cost.
[[nodiscard]] inline result<std::string> read_attribute(const std::string& path) {
    const unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd)
        return system_error("open", path);
    std::array<char, 4096> page;
    const ssize_t n = ::read(fd.get(), page.data(), page.size());
    if (n < 0)
        return system_error("read", path);
    return std::string(page.data(), static_cast<std::size_t>(n));
}

/// Reads sysfs and remembers the first failure, so that the reader below can be straight.
class sysfs_reader {
public:
    explicit sysfs_reader(const std::filesystem::path& sys) : root_(sys.string()) {}

    [[nodiscard]] std::string path(const std::string& below) const { return root_ + '/' + below; }

    /// The set in a file that has to be there.
    [[nodiscard]] cpu_set need_cpus(const std::string& below) {
        const auto text = read_attribute(path(below));
        if (!text) {
            fail(text.error().message());
            return {};
        }
        const auto set = parse_cpu_list(*text);
        if (!set)
            fail("cannot read " + path(below) + ": \"" + std::string(without_newline(*text)) +
                 "\" is no list of CPUs 0-" + std::to_string(cpu_set::capacity - 1));
        return set.value_or(cpu_set{});
    }

    /// The text of a file that may be missing.
    [[nodiscard]] std::optional<std::string> try_text(const std::string& below) const {
        auto text = read_attribute(path(below));
        if (!text)
            return std::nullopt;
        return std::string(without_newline(*text));
    }

    void fail(std::string why) {
        if (failure_.empty())
            failure_ = std::move(why);
    }
    [[nodiscard]] const std::string& failure() const { return failure_; }

private:
    std::string root_;
    std::string failure_;
};

[[nodiscard]] inline std::optional<int> whole_number(std::string_view text) {
    int value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{} || end != text.data() + text.size() || value < 0)
        return std::nullopt;
    return value;
}

struct cache_index {
    int index = -1;
    int level = 0;
};

[[nodiscard]] inline std::string cpu_directory(int cpu) {
    return "devices/system/cpu/cpu" + std::to_string(cpu);
}
[[nodiscard]] inline std::string cache_directory(int cpu, int index) {
    return cpu_directory(cpu) + "/cache/index" + std::to_string(index);
}

/// The unified cache of the highest level. The kernel numbers the directories without gaps.
[[nodiscard]] inline cache_index find_llc(const sysfs_reader& sys, int cpu) {
    cache_index best;
    for (int i = 0; i < most_cache_levels; ++i) {
        const auto level_text = sys.try_text(cache_directory(cpu, i) + "/level");
        if (!level_text)
            break;
        const int level = whole_number(*level_text).value_or(0);
        if (level > best.level && sys.try_text(cache_directory(cpu, i) + "/type") == "Unified")
            best = {i, level};
    }
    return best;
}

[[nodiscard]] inline std::vector<int> node_ids(const std::string& directory) {
    std::vector<int> ids;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir{::opendir(directory.c_str()), ::closedir};
    if (dir) {
        while (const auto* entry = ::readdir(dir.get())) {
            const std::string_view name = entry->d_name;
            if (!name.starts_with("node"))
                continue;
            if (const auto id = whole_number(name.substr(4)))
                ids.push_back(*id);
        }
    }
    std::sort(ids.begin(), ids.end());
    return ids;
}

[[nodiscard]] inline std::vector<std::uint32_t> number_row(std::string_view text) {
    std::vector<std::uint32_t> row;
    while (!text.empty()) {
        const auto blank = std::min(text.find(' '), text.size());
        if (const auto value = whole_number(text.substr(0, blank)))
            row.push_back(static_cast<std::uint32_t>(*value));
        text.remove_prefix(std::min(blank + 1, text.size()));
    }
    return row;
}

}  // namespace detail

/// Reads the machine below `sys`, normally /sys. What cannot be read is told in `unreadable`.
[[nodiscard]] inline observed_machine read_machine(const std::filesystem::path& sys = "/sys") {
    detail::sysfs_reader reader(sys);
    observed_machine machine;
    machine.present = reader.need_cpus("devices/system/cpu/present");
    machine.online = reader.need_cpus("devices/system/cpu/online");

    detail::cache_index llc;
    for (const int cpu : machine.online) {
        observed_cpu seen{cpu, std::nullopt, {}};
        std::optional<std::string> siblings;
        if (llc.index >= 0)
            siblings =
                reader.try_text(detail::cache_directory(cpu, llc.index) + "/shared_cpu_list");
        if (!siblings) {
            const auto own = detail::find_llc(reader, cpu);
            if (own.index >= 0)
                siblings =
                    reader.try_text(detail::cache_directory(cpu, own.index) + "/shared_cpu_list");
            if (llc.index < 0) {
                llc = own;
                machine.llc_level = own.level;
            }
        }
        if (siblings) {
            seen.llc_siblings = parse_cpu_list(*siblings);
            if (!seen.llc_siblings)
                reader.fail("cannot read the LLC of cpu" + std::to_string(cpu) + ": \"" +
                            *siblings + "\" is no list of CPUs");
        }
        seen.smt_siblings =
            reader.need_cpus(detail::cpu_directory(cpu) + "/topology/thread_siblings_list");
        machine.cpus.push_back(std::move(seen));
    }

    for (const int id : detail::node_ids(reader.path("devices/system/node"))) {
        const std::string node = "devices/system/node/node" + std::to_string(id);
        machine.has_numa = true;
        machine.nodes.push_back(
            {id, reader.need_cpus(node + "/cpulist"),
             detail::number_row(reader.try_text(node + "/distance").value_or(""))});
    }
    // A kernel without NUMA is a machine with one node, which is how it schedules.
    if (!machine.has_numa)
        machine.nodes.push_back({0, machine.online, {}});

    machine.unreadable = reader.failure();
    return machine;
}

namespace detail {

[[nodiscard]] inline std::string named(const cpu_set& set) {
    return set.empty() ? "none" : to_text(set);
}

/// The shape, when every set of a kind has the same size and the kinds nest.
[[nodiscard]] inline std::optional<topology> regular_shape(const observed_machine& machine) {
    if (machine.cpus.empty() || machine.nodes.empty())
        return std::nullopt;
    const int cpus = static_cast<int>(machine.cpus.size());
    const auto& first = machine.cpus.front();
    if (!first.llc_siblings)
        return std::nullopt;
    const int llc_size = first.llc_siblings->count();
    const int threads = first.smt_siblings.count();
    const int nodes = static_cast<int>(machine.nodes.size());
    if (threads == 0 || llc_size == 0 || llc_size % threads != 0 || cpus % llc_size != 0 ||
        (cpus / llc_size) % nodes != 0)
        return std::nullopt;
    cpu_set in_nodes;
    for (const auto& node : machine.nodes) {
        if (node.cpus.count() * nodes != cpus || !(node.cpus & in_nodes).empty())
            return std::nullopt;
        in_nodes |= node.cpus;
    }
    for (const auto& cpu : machine.cpus) {
        if (!cpu.llc_siblings || cpu.llc_siblings->count() != llc_size ||
            cpu.smt_siblings.count() != threads || !cpu.llc_siblings->contains(cpu.id) ||
            !cpu.smt_siblings.contains(cpu.id) || !cpu.llc_siblings->contains(cpu.smt_siblings))
            return std::nullopt;
        for (const auto& node : machine.nodes)
            if (node.cpus.contains(cpu.id) && !node.cpus.contains(*cpu.llc_siblings))
                return std::nullopt;
    }
    return topology{nodes, cpus / llc_size, llc_size / threads, threads, {}};
}

[[nodiscard]] inline std::string describe(const observed_machine& machine) {
    if (const auto shape = regular_shape(machine))
        return std::to_string(shape->numa_nodes) + 'n' + std::to_string(shape->llcs) + 'l' +
               std::to_string(shape->cores) + 'c' + std::to_string(shape->threads) + 't';
    std::vector<std::string> llcs;
    for (const auto& cpu : machine.cpus)
        if (cpu.llc_siblings)
            llcs.push_back(to_text(*cpu.llc_siblings));
    std::sort(llcs.begin(), llcs.end());
    const auto different = std::unique(llcs.begin(), llcs.end()) - llcs.begin();
    return "irregular: " + std::to_string(machine.online.count()) + " CPUs, " +
           std::to_string(machine.nodes.size()) + " nodes, " + std::to_string(different) +
           " LLC sets";
}

[[nodiscard]] inline std::string llc_text(const observed_cpu& cpu, int level) {
    if (!cpu.llc_siblings)
        return "no unified cache";
    // The usual level goes without saying; another one is most of the explanation.
    return named(*cpu.llc_siblings) + (level == 3 ? "" : " (L" + std::to_string(level) + ")");
}

/// The first difference in the order in which one explains the next: a missing CPU changes every
/// set, a wrong node changes LLCs. Empty when there is none.
[[nodiscard]] inline std::string first_difference(const topology& wanted,
                                                  const std::vector<std::uint32_t>& distances,
                                                  const observed_machine& machine) {
    if (!machine.unreadable.empty())
        return machine.unreadable;
    const auto all = wanted.all_cpus();
    if (machine.present != all)
        return "present CPUs: " + named(all) + " expected, " + named(machine.present) + " found";
    if (machine.online != all)
        return "online CPUs: " + named(all) + " expected, " + named(machine.online) + " found";

    if (!machine.has_numa && wanted.num_numa_nodes() > 1)
        return "nodes: " + std::to_string(wanted.num_numa_nodes()) +
               " expected, the kernel lists none";
    for (int id = 0; id < wanted.num_numa_nodes(); ++id) {
        const auto expected = named(wanted.cpus_in_node(id));
        const std::string name = "node" + std::to_string(id) + ": CPUs " + expected + " expected, ";
        const auto node = std::find_if(machine.nodes.begin(), machine.nodes.end(),
                                       [&](const auto& n) { return n.id == id; });
        if (node == machine.nodes.end())
            return name + "no such node found";
        if (node->cpus != wanted.cpus_in_node(id))
            return name + named(node->cpus) + " found";
    }
    for (const auto& node : machine.nodes)
        if (node.id >= wanted.num_numa_nodes())
            return "node" + std::to_string(node.id) + ": no such node expected, one with CPUs " +
                   named(node.cpus) + " found";

    // A kernel without NUMA has no distances to show, and only one node to be apart from.
    const auto nodes = static_cast<std::size_t>(wanted.num_numa_nodes());
    if (!distances.empty() && distances.size() != nodes * nodes)
        return "distances: " + std::to_string(distances.size()) + " were asked for where " +
               std::to_string(nodes) + " nodes have " + std::to_string(nodes * nodes);
    for (std::size_t from = 0; !distances.empty() && machine.has_numa && from < nodes; ++from) {
        const auto& row = machine.nodes[from].distances;
        for (std::size_t to = 0; to < nodes; ++to) {
            const auto expected = distances[from * nodes + to];
            if (to >= row.size() || row[to] != expected)
                return "node" + std::to_string(from) + ": distance " + std::to_string(expected) +
                       " to node" + std::to_string(to) + " expected, " +
                       (to < row.size() ? std::to_string(row[to]) : "none") + " found";
        }
    }

    for (const auto& cpu : machine.cpus) {
        const auto expected = wanted.cpus_in_llc(wanted.llc_of(cpu.id));
        if (cpu.llc_siblings != expected)
            return "cpu" + std::to_string(cpu.id) + ": LLC siblings " + named(expected) +
                   " expected, " + llc_text(cpu, machine.llc_level) + " found";
    }
    for (const auto& cpu : machine.cpus) {
        const auto expected = wanted.smt_siblings(cpu.id);
        if (cpu.smt_siblings != expected)
            return "cpu" + std::to_string(cpu.id) + ": SMT siblings " + named(expected) +
                   " expected, " + named(cpu.smt_siblings) + " found";
    }
    return {};
}

}  // namespace detail

/// Compares what was found with what the test asked for. `distances` are nodes x nodes, row by
/// row; empty means that they don't matter.
[[nodiscard]] inline wire::topology_proof prove(const topology& wanted,
                                                const std::vector<std::uint32_t>& distances,
                                                const observed_machine& machine) {
    wire::topology_proof proof;
    proof.observed = detail::describe(machine);
    proof.difference = detail::first_difference(wanted, distances, machine);
    proof.matches = proof.difference.empty();
    return proof;
}

}  // namespace ktstr::guest
