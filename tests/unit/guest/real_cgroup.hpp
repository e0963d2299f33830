// SPDX-License-Identifier: MIT
// A cgroup of this machine in which a test may do as it likes, or the reason why there is none.
#pragma once

#include <ktstr/guest/cgroup/cgroup_tree.hpp>
#include <ktstr/linux/own_cgroup.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <poll.h>

namespace ktstr::guest::testing {

/// Skips the test where this process may not make cgroups. Removed with the object.
[[nodiscard]] inline cgroup_tree test_cgroup() {
    const auto own = find_own_cgroup();
    if (!own)
        SKIP(own.error().message());
    auto tree = cgroup_tree::make_below(own->directory);
    if (!tree)
        SKIP(tree.error().message());
    return *std::move(tree);
}

[[nodiscard]] inline bool exists(const std::string& path) {
    return std::filesystem::exists(path);
}

/// Waits until the cgroup at `path` has a process in it or below it.
[[nodiscard]] inline bool wait_until_populated(const std::string& path) {
    const unique_fd events{::open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC)};
    for (;;) {
        char text[256] = {};
        if (::pread(events.get(), text, sizeof text - 1, 0) <= 0)
            return false;
        if (std::string_view(text).find("populated 1") != std::string_view::npos)
            return true;
        pollfd change{events.get(), POLLPRI, 0};
        if (::poll(&change, 1, 30'000) == 0)
            return false;
    }
}

/// The processes in a cgroup.
[[nodiscard]] inline std::vector<pid_t> processes_in(const std::string& path) {
    std::vector<pid_t> pids;
    const auto text = read_kernel_file(path + "/cgroup.procs").value_or("");
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
        pids.push_back(std::stoi(text.substr(at)));
    return pids;
}

}  // namespace ktstr::guest::testing
