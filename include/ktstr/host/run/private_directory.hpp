// SPDX-License-Identifier: MIT
// A directory of this run's own, mode 0700 and with an unguessable name, and the process that
// removes it when the runner is killed, and the run's cgroups, which carry its name: the janitor
// watches the runner's process, whose end is the one message that a SIGKILL can't suppress. The name
// comes to it through a pipe, and a goodbye: the pipe's end of file would come late where another thread
// of the process has forked a child that still holds it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cache/temporary_directory.hpp>
#include <ktstr/host/reserve/cpuset.hpp>
#include <ktstr/linux/own_cgroup.hpp>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::host {

class private_directory {
public:
    /// Makes the directory under $XDG_RUNTIME_DIR, else $TMPDIR, else /tmp, and starts its janitor.
    /// Call it while the process has one thread: the janitor is a fork without an exec.
    [[nodiscard]] static result<private_directory> create() {
        std::string parent = "/tmp";
        for (const char* name : {"XDG_RUNTIME_DIR", "TMPDIR"}) {
            const char* value = std::getenv(name);
            if (value != nullptr && *value != '\0' && ::access(value, W_OK | X_OK) == 0) {
                parent = value;
                break;
            }
        }
        private_directory made;
        int watch[2];
        if (::pipe2(watch, O_CLOEXEC) != 0)
            return system_error("make a pipe for", "the run's janitor");
        unique_fd read_end(watch[0]);
        made.alive_ = unique_fd(watch[1]);
        const unique_fd runner(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
        if (!runner)
            return system_error("watch", "this process", "a kernel of 5.3 or later is needed");
        // The janitor is there before the directory is, so there is no moment at which a kill
        // would leave one behind. It learns the name through the pipe.
        const pid_t pid = ::fork();
        if (pid < 0)
            return system_error("fork", "the run's janitor");
        if (pid == 0) {
            made.alive_.reset();
            keep_watch(read_end.get(), runner.get());
        }
        made.janitor_ = pid;
        std::string pattern = parent + "/ktstr-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr)
            return system_error("make a private directory in", parent,
                                "point TMPDIR at a directory you can write to");
        made.path_ = pattern;
        const std::string line = pattern + '\n';
        if (::write(made.alive_.get(), line.data(), line.size()) !=
            static_cast<ssize_t>(line.size()))
            return system_error("tell the janitor about", pattern);
        return made;
    }

    private_directory(private_directory&& other) noexcept
        : path_(std::exchange(other.path_, {})),
          alive_(std::move(other.alive_)),
          janitor_(std::exchange(other.janitor_, -1)) {}
    private_directory& operator=(private_directory&&) = delete;
    ~private_directory() {
        if (janitor_ <= 0)
            return;
        std::error_code ignored;
        if (!path_.empty())
            std::filesystem::remove_all(path_, ignored);
        (void)!::write(alive_.get(), "", 1);
        alive_.reset();
        while (::waitpid(janitor_, nullptr, 0) < 0 && errno == EINTR) {
        }
    }

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    private_directory() = default;

    /// `fd` has a name that ends with a newline, and then a zero.
    [[noreturn]] static void keep_watch(int fd, int runner) {
        ::setsid();  // out of reach of a terminal's signals and of a killed process group
        ::prctl(PR_SET_NAME, "ktstr-janitor");
        const int kept = ::fcntl(runner, F_DUPFD, 10);  // it may be 3
        ::dup2(fd, 3);
        ::fcntl(3, F_SETFL, O_NONBLOCK);
        ::dup2(kept, 4);
        // Nothing of the runner's may stay open here: a pipe held by the janitor would keep its
        // reader waiting for an end that does not come.
        ::syscall(SYS_close_range, 5U, ~0U, 0U);
        for (int standard : {0, 1, 2})
            ::close(standard);
        std::string name;
        char byte = 0;
        for (;;) {
            pollfd both[] = {{3, POLLIN, 0}, {kept < 0 ? -1 : 4, POLLIN, 0}};
            if (::poll(both, 2, -1) < 0) {
                if (errno == EINTR)
                    continue;
                break;
            }
            const bool gone = both[1].revents != 0;
            const auto n = ::read(3, &byte, 1);
            if (n < 0 && (errno == EINTR || (errno == EAGAIN && !gone)))
                continue;
            if (n <= 0 || byte == '\0')
                break;
            if (byte != '\n')
                name += byte;
        }
        std::error_code ignored;
        if (!name.empty()) {
            std::filesystem::remove_all(name, ignored);
            if (const auto own = find_own_cgroup())
                remove_cgroups_named(own->directory,
                                     std::filesystem::path(name).filename().string() + '-');
        }
        // A template that was being booted: memory of hundreds of megabytes that nobody will finish.
        if (const auto root = cache_root())
            remove_stale_directories(*root / "tmp");
        ::_exit(0);
    }

    std::filesystem::path path_;
    unique_fd alive_;
    pid_t janitor_ = -1;
};

}  // namespace ktstr::host
