// SPDX-License-Identifier: MIT
// The file systems a guest has, as a table. There is no root file system besides the initramfs.
// Runs as PID 1 in the guest.
#pragma once

#include <array>
#include <cerrno>
#include <string>

#include <sys/mount.h>
#include <sys/stat.h>

namespace ktstr::guest {

struct mount_entry {
    const char* type;
    const char* target;
    unsigned long flags;
    const char* options;
    bool required;  ///< without it no body can run honestly; the others are conveniences
};

inline constexpr std::array mount_table{
    mount_entry{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", true},
    mount_entry{"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", true},
    mount_entry{"devtmpfs", "/dev", MS_NOSUID, "mode=0755", true},
    mount_entry{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", true},
    mount_entry{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", true},
    mount_entry{"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", true},
    mount_entry{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", true},
    mount_entry{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666", false},
    mount_entry{"debugfs", "/sys/kernel/debug", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", false},
    mount_entry{"tracefs", "/sys/kernel/tracing", MS_NOSUID | MS_NODEV | MS_NOEXEC, "", false},
    mount_entry{"bpf", "/sys/fs/bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700", false},
};

/// Mounts the table. Returns the failures of required entries, one sentence each, empty if all went
/// well. An entry that is mounted already (devtmpfs by the kernel itself) is fine.
[[nodiscard]] inline std::string mount_all() {
    std::string failures;
    for (const auto& entry : mount_table) {
        ::mkdir(entry.target, 0755);
        if (::mount(entry.type, entry.target, entry.type, entry.flags, entry.options) == 0 ||
            errno == EBUSY || !entry.required)
            continue;
        const int code = errno;
        failures += std::string("cannot mount ") + entry.type + " on " + entry.target + ": errno " +
                    std::to_string(code) + "; ";
    }
    return failures;
}

}  // namespace ktstr::guest
