// SPDX-License-Identifier: MIT
// Processes that are known by a mark in their environment, which whatever they start inherits: the only
// way to find what a process has left behind when it could not end it itself. Used on both sides.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/linux/kernel_file.hpp>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ktstr {

/// Whether the process was started with the entry `mark` ("NAME=value") in its environment.
[[nodiscard]] inline bool has_mark(pid_t pid, std::string_view mark) {
    const auto environment = read_kernel_file("/proc/" + std::to_string(pid) + "/environ");
    if (!environment)
        return false;
    for (std::string_view rest = *environment; !rest.empty();) {
        const auto entry = rest.substr(0, rest.find('\0'));
        if (entry == mark)
            return true;
        rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
    }
    return false;
}

/// Kills every process with that mark but this one, and waits until they are dead. Returns how many it
/// killed. Of a process of another user nothing is known.
inline int kill_marked(std::string_view mark) {
    int killed = 0;
    // Who forks meanwhile leaves somebody for the next round; who does so faster than this looks is a bomb.
    for (int round = 0; round < 100; ++round) {
        std::vector<unique_fd> dying;
        DIR* const all = ::opendir("/proc");
        if (all == nullptr)
            return killed;
        while (const dirent* entry = ::readdir(all)) {
            pid_t pid = 0;
            const char* const end = entry->d_name + std::strlen(entry->d_name);
            if (std::from_chars(entry->d_name, end, pid).ptr != end || pid == ::getpid())
                continue;
            // Held first and looked at then: the number may be another's by the time it is killed.
            unique_fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
            if (process && has_mark(pid, mark) &&
                ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0)
                dying.push_back(std::move(process));
        }
        ::closedir(all);
        if (dying.empty())
            return killed;
        killed += static_cast<int>(dying.size());
        for (const auto& process : dying) {
            pollfd end{process.get(), POLLIN, 0};
            if (::poll(&end, 1, 5000) == 0)
                return killed;  // SIGKILL needs no cooperation: it hangs in the kernel
        }
    }
    return killed;
}

}  // namespace ktstr
