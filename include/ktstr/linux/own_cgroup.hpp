// SPDX-License-Identifier: MIT
// Where cgroup v2 is mounted and which directory is the calling process's own: the one place
// beneath which it may be allowed to make cgroups on a machine that is not its own.
#pragma once

#include <ktstr/linux/kernel_file.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

namespace ktstr {

namespace mount_table {

/// Mount tables write blanks and backslashes as \040.
[[nodiscard]] inline std::string unescaped(std::string_view text) {
    std::string plain;
    const auto digit = [](char c) { return c >= '0' && c <= '7'; };
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && digit(text[i + 1]) && digit(text[i + 2]) &&
            digit(text[i + 3])) {
            plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                       (text[i + 3] - '0'));
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

[[nodiscard]] inline std::string_view take_until(std::string_view& text, char end) {
    const auto at = std::min(text.find(end), text.size());
    const auto head = text.substr(0, at);
    text.remove_prefix(std::min(at + 1, text.size()));
    return head;
}

}  // namespace mount_table

struct own_cgroup {
    std::filesystem::path mount;
    std::filesystem::path directory;
};

/// The calling process's cgroup. `proc` is a parameter for the tests' sake.
[[nodiscard]] inline result<own_cgroup> find_own_cgroup(
    const std::filesystem::path& proc = "/proc") {
    const auto membership = read_kernel_file(proc / "self/cgroup");
    if (!membership)
        return membership.error();
    const auto mounts = read_kernel_file(proc / "self/mountinfo");
    if (!mounts)
        return mounts.error();

    // Version 2 is the line with hierarchy 0 and no controllers; the others are version 1.
    std::string own;
    for (std::string_view rest = *membership; !rest.empty();) {
        const auto line = mount_table::take_until(rest, '\n');
        if (line.starts_with("0::"))
            own = line.substr(3);
    }
    if (own.empty())
        return plain_error("find", "this process's cgroup",
                           "the kernel runs no cgroup version 2 hierarchy",
                           "boot without cgroup_disable and with CONFIG_CGROUPS=y");

    for (std::string_view rest = *mounts; !rest.empty();) {
        auto line = mount_table::take_until(rest, '\n');
        const auto separator = line.find(" - ");
        if (separator == std::string_view::npos ||
            !line.substr(separator + 3).starts_with("cgroup2 "))
            continue;
        for (int skipped = 0; skipped < 3; ++skipped)  // mount id, parent id, device
            (void)mount_table::take_until(line, ' ');
        const auto mounted_root = mount_table::unescaped(mount_table::take_until(line, ' '));
        const auto mount_point = mount_table::unescaped(mount_table::take_until(line, ' '));
        // A mount may show a part of the hierarchy only; our cgroup has to be in that part.
        std::string_view below = own;
        if (mounted_root != "/") {
            if (!below.starts_with(mounted_root))
                continue;
            below.remove_prefix(mounted_root.size());
            if (!below.empty() && below.front() != '/')
                continue;
        }
        if (below.starts_with("/.."))
            continue;
        while (below.starts_with('/'))
            below.remove_prefix(1);
        own_cgroup found{.mount = mount_point, .directory = mount_point};
        if (!below.empty())
            found.directory /= below;
        return found;
    }
    return plain_error("find", "a cgroup version 2 mount that holds " + own, "there is none",
                       "mount one: mount -t cgroup2 none /sys/fs/cgroup");
}

}  // namespace ktstr
