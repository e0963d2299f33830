// SPDX-License-Identifier: MIT
// Who holds a lock, from /proc/locks: for messages and `ktstr locks`, never for a decision, because a
// holder in another PID namespace is not listed. Host side.
#pragma once

#include <ktstr/host/reserve/lock_directory.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace ktstr::host {

/// A file as /proc/locks names it.
struct lock_identity {
    unsigned major = 0;
    unsigned minor = 0;
    std::uint64_t inode = 0;

    friend bool operator==(const lock_identity&, const lock_identity&) = default;
};

struct lock_holder {
    int pid = 0;
    std::string comm;  ///< empty when it can't be read
    bool exclusive = false;

    friend bool operator==(const lock_holder&, const lock_holder&) = default;
};

/// Of an open lock file. Some file systems show programs another device than the kernel counts with;
/// the mount table has the kernel's.
[[nodiscard]] inline std::optional<lock_identity> identity_of(
    int fd, const std::filesystem::path& proc = "/proc") {
    struct ::stat facts {};
    if (::fstat(fd, &facts) != 0)
        return std::nullopt;
    lock_identity found{major(facts.st_dev), minor(facts.st_dev), facts.st_ino};
    std::ifstream info(proc / "self" / "fdinfo" / std::to_string(fd));
    std::string mount;
    for (std::string line; std::getline(info, line);) {
        std::istringstream words(line);
        std::string key;
        words >> key;
        if (key == "mnt_id:")
            words >> mount;
        else if (key == "ino:")
            words >> found.inode;
    }
    std::ifstream mounts(proc / "self" / "mountinfo");
    for (std::string line; !mount.empty() && std::getline(mounts, line);) {
        std::istringstream words(line);
        std::string id, parent, device;
        words >> id >> parent >> device;
        unsigned high = 0, low = 0;
        if (id == mount && std::sscanf(device.c_str(), "%u:%u", &high, &low) == 2) {
            found.major = high;
            found.minor = low;
        }
    }
    return found;
}

/// The holders of one file's flock in the text of /proc/locks; those who only wait are left out.
[[nodiscard]] inline std::vector<lock_holder> parse_lock_holders(std::string_view locks,
                                                                 const lock_identity& file) {
    std::vector<lock_holder> holders;
    std::istringstream lines{std::string(locks)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string number, kind, advisory, access, where;
        int pid = 0;
        if (!(words >> number >> kind >> advisory >> access >> pid >> where) || kind != "FLOCK" ||
            pid <= 0)
            continue;
        unsigned high = 0, low = 0;
        unsigned long long inode = 0;
        if (std::sscanf(where.c_str(), "%x:%x:%llu", &high, &low, &inode) == 3 &&
            lock_identity{high, low, inode} == file)
            holders.push_back({pid, {}, access == "WRITE"});
    }
    return holders;
}

/// The holders of an open lock file, with their names.
[[nodiscard]] inline std::vector<lock_holder> holders_of(
    int fd, const std::filesystem::path& proc = "/proc") {
    const auto identity = identity_of(fd, proc);
    if (!identity)
        return {};
    std::ifstream in(proc / "locks");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    auto holders = parse_lock_holders(text, *identity);
    for (auto& holder : holders) {
        std::ifstream comm(proc / std::to_string(holder.pid) / "comm");
        std::getline(comm, holder.comm);
        for (char& c : holder.comm)
            c = c >= ' ' && c <= '~' ? c : '?';
    }
    return holders;
}

[[nodiscard]] inline std::vector<lock_holder> holders_of(
    const host_lock& file, const std::filesystem::path& proc = "/proc") {
    return holders_of(file.fd(), proc);
}

/// "my_tests (pid 12)".
[[nodiscard]] inline std::string to_text(const lock_holder& holder) {
    return (holder.comm.empty() ? std::string("a process") : holder.comm) + " (pid " +
           std::to_string(holder.pid) + ')';
}

}  // namespace ktstr::host
