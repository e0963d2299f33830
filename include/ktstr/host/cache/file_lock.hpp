// SPDX-License-Identifier: MIT
// flock() on a lock file that may be deleted by its last owner. The kernel drops the lock when its
// owner dies, however it dies, so nothing here ever needs a stale-lock rule. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache_root.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace ktstr::host {

/// Receives one line about something that takes long. May be empty.
using progress_callback = std::function<void(std::string_view)>;

enum class lock_mode { shared, exclusive };

namespace detail {

/// Whether the descriptor still is the file the path leads to (its last owner may have removed it
/// between our open and our lock).
inline bool is_same_file(int fd, const std::filesystem::path& path) {
    struct ::stat held {
    }, there{};
    return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &there) == 0 &&
           held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

}  // namespace detail

/// Takes the lock now, or returns nothing when somebody holds it. Creates the file.
inline result<std::optional<unique_fd>> try_lock_file(const std::filesystem::path& path,
                                                      lock_mode mode) {
    for (;;) {
        unique_fd file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)};
        if (!file)
            return cache_error("open the lock", path);
        const int how = mode == lock_mode::shared ? LOCK_SH : LOCK_EX;
        while (::flock(file.get(), how | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                return std::optional<unique_fd>{};
            if (errno != EINTR)
                return cache_error("lock", path);
        }
        if (detail::is_same_file(file.get(), path))
            return std::optional<unique_fd>{std::move(file)};
    }
}

/// Waits for the lock; tells `waiting` once when it is not free at first.
inline result<unique_fd> lock_file(const std::filesystem::path& path, lock_mode mode,
                                   const std::function<void()>& waiting = {}) {
    bool told = false;
    for (;;) {
        auto taken = try_lock_file(path, mode);
        if (!taken)
            return std::move(taken).error();
        if (taken->has_value())
            return std::move(**taken);
        if (!told && waiting)
            waiting();
        told = true;
        unique_fd file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)};
        if (!file)
            return cache_error("open the lock", path);
        const int how = mode == lock_mode::shared ? LOCK_SH : LOCK_EX;
        while (::flock(file.get(), how) != 0)
            if (errno != EINTR)
                return cache_error("lock", path);
        if (detail::is_same_file(file.get(), path))
            return file;
    }
}

}  // namespace ktstr::host
