// SPDX-License-Identifier: MIT
// How much memory this process may still give to machines, and whether one more may start. QEMU takes
// its memory page by page, so what running machines were promised and have not taken yet counts as
// taken. Host side.
#pragma once

#include <ktstr/linux/own_cgroup.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include <unistd.h>

namespace ktstr::host {

/// Kept free for the host itself.
inline constexpr int memory_margin_mib = 256;
/// What a QEMU process needs beside its guest's memory.
inline constexpr int memory_of_qemu_mib = 96;

/// Whether a machine of `wanted` MiB may start beside machines that were promised `promised` MiB more
/// than they have taken. One that fits nowhere still runs when it is alone: the host may swap, and
/// QEMU itself says best what it can't have.
[[nodiscard]] constexpr bool memory_admits(std::int64_t available, std::int64_t promised,
                                           std::int64_t wanted, bool alone) {
    return wanted == 0 || alone || available - promised >= wanted + memory_margin_mib;
}

namespace detail {

inline std::optional<std::uint64_t> leading_number(std::string_view text) {
    std::uint64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{})
        return std::nullopt;
    return value;
}

inline std::optional<std::uint64_t> number_of_file(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string line;
    if (!std::getline(in, line))
        return std::nullopt;
    return leading_number(line);  // "max" is none
}

/// The value behind a key in lines of "key value" or "key: value".
inline std::optional<std::uint64_t> keyed_number(const std::filesystem::path& file,
                                                 std::string_view key) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string name;
        std::uint64_t value = 0;
        if (words >> name >> value && name == key)
            return value;
    }
    return std::nullopt;
}

}  // namespace detail

/// MiB that may still be taken: the host's MemAvailable, and less where a cgroup's memory.max leaves
/// less. File cache that can be dropped counts as free.
[[nodiscard]] inline std::optional<std::int64_t> available_memory_mib(
    const std::filesystem::path& proc = "/proc") {
    auto mib = detail::keyed_number(proc / "meminfo", "MemAvailable:");
    if (!mib)
        return std::nullopt;
    auto least = static_cast<std::int64_t>(*mib / 1024);
    if (const auto own = find_own_cgroup(proc))
        for (auto at = own->directory; at.native().size() >= own->mount.native().size();
             at = at.parent_path()) {
            const auto limit = detail::number_of_file(at / "memory.max");
            const auto used = detail::number_of_file(at / "memory.current");
            if (limit && used) {
                const auto cache =
                    detail::keyed_number(at / "memory.stat", "inactive_file").value_or(0);
                least = std::min(
                    least, (static_cast<std::int64_t>(*limit) - static_cast<std::int64_t>(*used) +
                            static_cast<std::int64_t>(cache)) /
                               (1024 * 1024));
            }
            if (at == at.parent_path())
                break;
        }
    return std::max<std::int64_t>(least, 0);
}

/// MiB of memory that the children of each of some processes have taken so far.
[[nodiscard]] inline std::map<int, std::int64_t> taken_by_children_mib(
    const std::set<int>& parents, const std::filesystem::path& proc = "/proc") {
    std::map<int, std::int64_t> taken;
    const auto page = static_cast<std::int64_t>(::sysconf(_SC_PAGESIZE));
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(proc, failed)) {
        if (!detail::leading_number(entry.path().filename().string()))
            continue;
        std::ifstream in(entry.path() / "stat");
        std::string line;
        std::getline(in, line);
        // The name in parentheses may hold anything; the fields begin behind its last one.
        const auto behind = line.rfind(')');
        if (behind == line.npos)
            continue;
        std::istringstream words(line.substr(behind + 1));
        std::string state;
        int parent = 0;
        if (!(words >> state >> parent) || !parents.contains(parent))
            continue;
        std::ifstream statm(entry.path() / "statm");
        std::int64_t size = 0, resident = 0;
        if (statm >> size >> resident)
            taken[parent] += resident * page / (1024 * 1024);
    }
    return taken;
}

}  // namespace ktstr::host
