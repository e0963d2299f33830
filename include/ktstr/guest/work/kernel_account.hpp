// SPDX-License-Identifier: MIT
// What the kernel counts for one process, read from its files in /proc and its CPU clock: by the worker itself between two
// phases, by who started it before and after the work, and of a worker that died (a zombie has these files until it is
// waited for). Guest side.
#pragma once

#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/kernel_file.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>
#include <time.h>

namespace ktstr::guest {

/// Counted since the process began: the time on CPUs of all of its threads, the rest of the first one. `known_*`: which
/// of it this kernel says.
struct kernel_account {
    std::uint64_t cpu_ns = 0, run_delay_ns = 0;
    std::uint64_t migrations = 0, voluntary = 0, involuntary = 0;
    bool known_schedstat = false, known_sched = false;
};

namespace detail {

/// The number after `name` and a colon, in a file of such lines. False: there is none.
[[nodiscard]] inline bool number_of(std::string_view text, std::string_view name,
                                    std::uint64_t& value) {
    for (auto at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
        if (at != 0 && text[at - 1] != '\n')
            continue;
        auto rest = text.substr(at + name.size());
        rest = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(rest.find_first_not_of(" \t:") < rest.size()
                               ? rest.find_first_not_of(" \t:")
                               : rest.size());
        return std::from_chars(rest.data(), rest.data() + rest.size(), value).ec == std::errc();
    }
    return false;
}

}  // namespace detail

[[nodiscard]] inline kernel_account read_kernel_account(pid_t pid) {
    kernel_account found;
    const std::string place = "/proc/" + std::to_string(pid);
    if (const auto text = read_kernel_file(place + "/schedstat")) {
        const char* at = text->data();
        const char* const end = at + text->size();
        std::uint64_t numbers[3] = {};
        std::size_t read = 0;
        for (; read < 3; ++read) {
            const auto [next, fault] = std::from_chars(at, end, numbers[read]);
            if (fault != std::errc())
                break;
            at = next < end ? next + 1 : end;
        }
        found.cpu_ns = numbers[0];  // of a running thread as of the last tick
        found.run_delay_ns = numbers[1];
        // A kernel that does not count writes zeros; whoever can be asked has run at least once.
        found.known_schedstat = read == 3 && numbers[2] != 0;
    }
    clockid_t cpu_clock{};
    timespec used{};
    if (::clock_getcpuclockid(pid, &cpu_clock) == 0 && ::clock_gettime(cpu_clock, &used) == 0)
        found.cpu_ns = static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000U +
                       static_cast<std::uint64_t>(used.tv_nsec);
    if (const auto text = read_kernel_file(place + "/sched"))
        found.known_sched = detail::number_of(*text, "se.nr_migrations", found.migrations) &&
                            detail::number_of(*text, "nr_voluntary_switches", found.voluntary) &&
                            detail::number_of(*text, "nr_involuntary_switches", found.involuntary);
    return found;
}

/// Waits until a process that is about to block has done so, or has died: only then its account stands still. There is no
/// event for it.
inline void wait_until_asleep(pid_t pid, std::uint64_t until_ns) {
    const std::string place = "/proc/" + std::to_string(pid) + "/stat";
    while (now_ns(CLOCK_MONOTONIC) < until_ns) {
        const auto text = read_kernel_file(place);
        const auto name_end = text ? text->rfind(") ") : std::string::npos;
        if (name_end == std::string::npos || (*text)[name_end + 2] != 'R')
            return;
        const timespec moment{0, 200'000};
        ::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr);
    }
}

[[nodiscard]] inline bool has_several_nodes() {
    const auto online = read_kernel_file("/sys/devices/system/node/online");
    return online && without_newline(*online).find_first_of("-,") != std::string_view::npos;
}

/// Pages of a process on each memory node.
[[nodiscard]] inline std::vector<std::uint64_t> read_pages_on_nodes(pid_t pid) {
    std::vector<std::uint64_t> pages;
    const auto text = read_kernel_file("/proc/" + std::to_string(pid) + "/numa_maps");
    if (!text)
        return pages;
    for (auto at = text->find(" N"); at != std::string::npos; at = text->find(" N", at + 1)) {
        const char* const end = text->data() + text->size();
        std::size_t node = 0;
        std::uint64_t count = 0;
        const auto [equals, fault] = std::from_chars(text->data() + at + 2, end, node);
        if (fault != std::errc() || equals == end || *equals != '=' || node >= 1024 ||
            std::from_chars(equals + 1, end, count).ec != std::errc())
            continue;
        if (pages.size() <= node)
            pages.resize(node + 1);
        pages[node] += count;
    }
    return pages;
}

}  // namespace ktstr::guest
