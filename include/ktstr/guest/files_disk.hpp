// SPDX-License-Identifier: MIT
// The second disk of a clone: the test's scheduler, and the libraries that the template does not have.
// Everything on it gets its place in the machine, as if it had been in the initramfs: a loader looks
// for a library where its program says, and takes no other root. Runs as PID 1 in the guest.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/wire/protocol.hpp>

#include <cerrno>
#include <climits>
#include <memory>
#include <string>
#include <string_view>

#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::guest {

/// Gives the entries of `from` places in `to`: a directory becomes a directory, a symbolic link the
/// same link, a file a link to it. What is there already stays.
[[nodiscard]] inline result<void> put_in_place(const std::string& from, const std::string& to) {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(from.c_str()), ::closedir);
    if (!entries)
        return system_error("list", from);
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..")
            continue;
        const auto source = from + '/' + entry->d_name;
        const auto place = to + '/' + entry->d_name;
        struct ::stat facts {};
        if (::lstat(source.c_str(), &facts) != 0)
            return system_error("look at", source);
        if (S_ISDIR(facts.st_mode)) {
            if (::mkdir(place.c_str(), 0755) != 0 && errno != EEXIST)
                return system_error("make", place);
            if (auto below = put_in_place(source, place); !below)
                return below;
            continue;
        }
        std::string target = source;
        if (S_ISLNK(facts.st_mode)) {
            target.resize(PATH_MAX);
            const auto n = ::readlink(source.c_str(), target.data(), target.size());
            if (n < 0)
                return system_error("read the link", source);
            target.resize(static_cast<std::size_t>(n));
        }
        if (::symlink(target.c_str(), place.c_str()) != 0 && errno != EEXIST)
            return system_error("make", place);
    }
    return {};
}

/// Mounts the disk and puts what is on it in place.
[[nodiscard]] inline result<void> mount_files() {
    if (::mount(wire::files_device, wire::files_root, "erofs", MS_RDONLY | MS_NODEV, "") != 0)
        return system_error("mount the test's files", wire::files_device);
    return put_in_place(wire::files_root, "");
}

}  // namespace ktstr::guest
