// SPDX-License-Identifier: MIT
// When a machine has come to rest: nobody but the process that asks has wanted a CPU for some moments in
// a row. The waiting between two looks is the caller's. Guest side.
#pragma once

#include <ktstr/linux/kernel_file.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <dirent.h>
#include <unistd.h>

namespace ktstr::guest {

/// How many tasks run or want a CPU, whoever asks among them: the fourth field of /proc/loadavg, a
/// count that the kernel keeps. Shares of time would not do: on a slow machine the reading of them
/// alone is a large one.
[[nodiscard]] inline std::optional<int> runnable_tasks(std::string_view loadavg) {
    for (int field = 0; field < 3; ++field)
        loadavg.remove_prefix(std::min(loadavg.find(' '), loadavg.size() - 1) + 1);
    int count = 0;
    const auto parsed = std::from_chars(loadavg.data(), loadavg.data() + loadavg.size(), count);
    if (parsed.ec != std::errc() || parsed.ptr == loadavg.data() + loadavg.size() ||
        *parsed.ptr != '/' || count < 0)
        return std::nullopt;
    return count;
}

/// The tasks that run or want a CPU now, but the asking one, in words.
[[nodiscard]] inline std::string busy_tasks() {
    std::string names;
    const std::unique_ptr<DIR, int (*)(DIR*)> processes(::opendir("/proc"), ::closedir);
    while (const dirent* entry = processes ? ::readdir(processes.get()) : nullptr) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || names.size() > 200 ||
            std::atoi(entry->d_name) == ::getpid())
            continue;
        // "17 (kworker/0:1) R ..."
        const auto stat = read_kernel_file("/proc/" + std::string(entry->d_name) + "/stat");
        const auto end = stat ? stat->rfind(')') : std::string::npos;
        if (end != std::string::npos && stat->compare(end, 3, ") R") == 0)
            names += (names.empty() ? "" : ", ") + stat->substr(0, end + 1);
    }
    return names.empty() ? "tasks that were gone when they were looked at" : names;
}

/// Told from looks that are a moment apart: no event says that a kernel has nothing left to do.
class rest_watch {
public:
    static constexpr std::uint64_t moment_ns = 30'000'000;

    /// Looks once. Empty text: the machine rests. Any other: who still wanted a CPU when it was enough of
    /// waiting. Nothing: look again, a moment later.
    [[nodiscard]] std::optional<std::string> look() {
        const auto text = read_kernel_file("/proc/loadavg");
        const auto runnable = text ? runnable_tasks(*text) : std::nullopt;
        if (!runnable)
            return "nobody knows who, /proc/loadavg can't be read";
        return saw(*runnable) ? std::optional(quiet_ == enough_quiet ? std::string() : busy_tasks())
                              : std::nullopt;
    }

    /// A look's count, the asking task among them. Whether that is the end of the waiting.
    [[nodiscard]] bool saw(int runnable) {
        quiet_ = runnable <= 1 ? quiet_ + 1 : 0;
        return quiet_ == enough_quiet || ++looks_ == most_looks;
    }

private:
    static constexpr int enough_quiet = 5, most_looks = 150;
    int quiet_ = 0, looks_ = 0;
};

}  // namespace ktstr::guest
