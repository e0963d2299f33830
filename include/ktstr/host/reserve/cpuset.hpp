// SPDX-License-Identifier: MIT
// A cgroup v2 cpuset around the vCPU threads of one machine: unlike an affinity mask nothing inside
// can widen it. A threaded cgroup below our own, so the threads move and QEMU's others stay. Where
// the host does not let us, make() says why and the caller falls back. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/reserve/host_memory.hpp>
#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/linux/kernel_file.hpp>
#include <ktstr/linux/own_cgroup.hpp>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::host {

namespace detail {

/// Removes a cgroup whose last thread may still be on its way out.
inline void remove_cgroup(const std::filesystem::path& directory, int attempts = 200) {
    while (::rmdir(directory.c_str()) != 0 && errno == EBUSY && attempts-- > 0) {
        const ::timespec moment{0, 10'000'000};
        ::nanosleep(&moment, nullptr);
    }
}

}  // namespace detail

/// Removes what a killed run left of its cpusets: the cgroups in a directory whose names begin so.
inline void remove_cgroups_named(const std::filesystem::path& parent, const std::string& prefix) {
    std::error_code failed;
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(parent, failed))
        if (entry.path().filename().string().starts_with(prefix))
            found.push_back(entry.path());
    for (const auto& directory : found)
        detail::remove_cgroup(directory, 500);
}

class cpuset {
public:
    /// A new cpuset below our own cgroup with exactly these CPUs, and the memory nodes beside them.
    [[nodiscard]] static result<cpuset> make(const std::string& name, const std::vector<int>& cpus,
                                             const std::vector<int>& nodes,
                                             const std::filesystem::path& proc = "/proc") {
        const auto own = find_own_cgroup(proc);
        if (!own)
            return plain_error("make a cpuset for", name, "there is no cgroup v2 hierarchy here");
        const auto controllers =
            detail::first_line_of(own->directory / "cgroup.controllers").value_or("");
        if ((' ' + controllers + ' ').find(" cpuset ") == std::string::npos)
            return plain_error("make a cpuset in", own->directory.string(),
                               "it has no cpuset controller");
        cpuset made;
        const auto directory = own->directory / name;
        if (::mkdir(directory.c_str(), 0755) != 0)
            return system_error("make a cpuset", directory.string());
        made.directory_ = directory;
        // Threaded first: our own cgroup has processes, and only threaded controllers work beside them.
        if (auto done = write_kernel_file(directory / "cgroup.type", "threaded"); !done)
            return std::move(done).error();
        if (auto done = write_kernel_file(own->directory / "cgroup.subtree_control", "+cpuset");
            !done)
            return std::move(done).error();
        if (auto done = write_kernel_file(directory / "cpuset.cpus", number_list(cpus)); !done)
            return std::move(done).error();
        if (!nodes.empty())  // nodes without memory are refused, and then all of them serve
            (void)write_kernel_file(directory / "cpuset.mems", number_list(nodes));
        const auto effective = detail::first_line_of(directory / "cpuset.cpus.effective");
        if (!effective || parse_number_list(*effective) != cpus)
            return plain_error(
                "use the cpuset", directory.string(),
                "it has the CPUs " + effective.value_or("") + " and not " + number_list(cpus));
        return made;
    }

    cpuset(cpuset&& other) noexcept : directory_(std::exchange(other.directory_, {})) {}
    cpuset& operator=(cpuset&&) = delete;
    ~cpuset() {
        if (!directory_.empty())
            detail::remove_cgroup(directory_);
    }

    [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }

    /// Moves one thread in. Its process must live in our own cgroup.
    [[nodiscard]] result<void> take(int thread) const {
        return write_kernel_file(directory_ / "cgroup.threads", std::to_string(thread));
    }

private:
    cpuset() = default;

    std::filesystem::path directory_;
};

}  // namespace ktstr::host
