// SPDX-License-Identifier: MIT
// Two counters of this machine: the time the host took from its CPUs, and the processes the kernel
// killed for memory. Absent means not measured; zero means measured and none. Guest side.
#pragma once

#include <ktstr/linux/kernel_file.hpp>

#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#    include <cpuid.h>
#endif

#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace ktstr::guest {

namespace detail {

/// The number at the start of `text`, which it is cut off from together with the blanks before it.
[[nodiscard]] inline std::optional<std::uint64_t> take_number(std::string_view& text) {
    while (!text.empty() && text.front() == ' ')
        text.remove_prefix(1);
    std::uint64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{})
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

}  // namespace detail

/// Steal of all CPUs together in USER_HZ ticks: the 8th value of the `cpu` line. Nothing when the
/// file can't be read or the kernel writes fewer values. A kernel without a steal clock writes 0
/// here; see has_steal_clock().
[[nodiscard]] inline std::optional<std::uint64_t> read_steal_ticks(
    const std::string& stat = "/proc/stat") {
    const auto text = read_kernel_file(stat);
    if (!text || !std::string_view(*text).starts_with("cpu "))
        return std::nullopt;
    std::string_view line = std::string_view(*text).substr(4);
    line = line.substr(0, line.find('\n'));
    std::optional<std::uint64_t> value;
    for (int field = 1; field <= 8; ++field) {
        value = detail::take_number(line);
        if (!value)
            return std::nullopt;
    }
    return value;
}

/// Processes the kernel killed for lack of memory since boot.
[[nodiscard]] inline std::optional<std::uint64_t> read_oom_kills(
    const std::string& vmstat = "/proc/vmstat") {
    const auto text = read_kernel_file(vmstat);
    if (!text)
        return std::nullopt;
    constexpr std::string_view key = "\noom_kill ";
    const std::string_view all = *text;
    auto at = all.find(key);
    if (at != std::string_view::npos)
        at += key.size();
    else if (all.starts_with(key.substr(1)))
        at = key.size() - 1;
    else
        return std::nullopt;
    std::string_view rest = all.substr(at);
    return detail::take_number(rest);
}

/// USER_HZ: steal ticks in a second.
[[nodiscard]] inline long clock_ticks_per_second() {
    return ::sysconf(_SC_CLK_TCK);
}

/// Whether KVM offers this machine a steal clock, asked of the CPU itself: the kernel shows a 0 in
/// /proc/stat when there is none. Nothing where the CPU can't be asked (not x86). The kernel
/// argument no-steal-acc, which ktstr never passes, would turn it off unseen.
[[nodiscard]] inline std::optional<bool> has_steal_clock() {
#if defined(__x86_64__) || defined(__i386__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned hypervisor_present = 1U << 31;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & hypervisor_present) == 0)
        return false;
    // Another hypervisor's leaves may come first; the kernel searches the same range.
    for (unsigned base = 0x40000000U; base < 0x40010000U; base += 0x100U) {
        __cpuid(base, a, b, c, d);
        char signature[12];
        std::memcpy(signature, &b, 4);
        std::memcpy(signature + 4, &c, 4);
        std::memcpy(signature + 8, &d, 4);
        if (std::memcmp(signature, "KVMKVMKVM\0\0\0", sizeof signature) != 0)
            continue;
        constexpr unsigned steal_time = 1U << 5;
        __cpuid(base + 1, a, b, c, d);
        return (a & steal_time) != 0;
    }
    return false;
#else
    return std::nullopt;
#endif
}

}  // namespace ktstr::guest
