// SPDX-License-Identifier: MIT
// flock() on a lock file that may be deleted by its last owner. The kernel drops the lock when its
// owner dies, however it dies, so nothing here ever needs a stale-lock rule. Who waits hears the stop
// signal. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/process/stop_signal.hpp>

#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

/// Waits for a lock, or for the stop signal. No descriptor tells that a lock became free, so a child
/// waits for it: a lock belongs to the open file, which both have, and stays when the child ends.
inline result<void> wait_for_lock(int fd, int how, const std::filesystem::path& path) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0)
        return system_error("start a process to wait for the lock", path.string(),
                            "the process limit is reached (ulimit -u) or memory is short");
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent)
            ::_exit(0);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP})
            ::signal(signal, SIG_DFL);
        // Above all the other locks: they must not stay taken for as long as this one is waited for.
        const auto own = static_cast<unsigned>(fd);
        if ((own > 0 && ::syscall(SYS_close_range, 0U, own - 1, 0U) != 0) ||
            ::syscall(SYS_close_range, own + 1, ~0U, 0U) != 0)
            for (int other = 0; other < 65536; ++other)
                if (other != fd)
                    ::close(other);
        while (::flock(fd, how) != 0)
            if (errno != EINTR)
                ::_exit(errno);
        ::_exit(0);
    }
    child waiting(pid, unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
    if (waiting.pidfd() < 0)
        return system_error("wait for the lock", path.string(),
                            "a kernel of 5.3 or later is needed");
    for (;;) {
        std::array<pollfd, 2> fds{
            {{waiting.pidfd(), POLLIN, 0}, {stop_signal::watched_fd(), POLLIN, 0}}};
        if (::poll(fds.data(), fds.size(), -1) < 0)
            continue;
        if (fds[0].revents != 0)
            break;
        if (fds[1].revents != 0)
            return plain_error("wait for the lock", path.string(), "interrupted");
    }
    const int status = waiting.end_within(-1);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return cache_error("lock", path, WEXITSTATUS(status));
    return {};  // if a signal ended the child, the lock is not there: the caller looks
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
        if (auto waited = detail::wait_for_lock(file.get(), how, path); !waited)
            return std::move(waited).error();
        // The child has taken it for us; this only asks.
        if (::flock(file.get(), how | LOCK_NB) == 0 && detail::is_same_file(file.get(), path))
            return file;
    }
}

}  // namespace ktstr::host
