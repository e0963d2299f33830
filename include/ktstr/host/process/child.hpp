// SPDX-License-Identifier: MIT
// A long-lived child (QEMU, the user-space vsock device) that can't outlive the runner: the kernel
// kills it when the thread that started it dies, however that happens. Tools that run to their
// end and are waited for belong in run_tool.hpp. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::host {

struct child_request {
    std::filesystem::path program;
    std::string name = {};                 ///< argv[0]; empty: the program
    std::vector<std::string> arguments;    ///< without argv[0]
    std::vector<int> inherited;            ///< descriptors the child keeps, under the same numbers
    int standard_input = -1;               ///< -1: /dev/null
    int standard_output = -1;              ///< -1: /dev/null
    int standard_error = -1;               ///< -1: /dev/null
    std::vector<std::string> environment;  ///< NAME=value, over this process's own
    /// Names of this process's own that the child does not get.
    std::vector<std::string> withheld = {};
    std::vector<int> cpus;                 ///< host CPUs all of it is bound to; empty: any
    std::filesystem::path directory = {};  ///< where it starts; empty: here
    bool own_session = true;               ///< out of reach of the terminal's signals
    bool dies_with_us = true;              ///< false: it has something to end, and notices itself
};

/// One running child. Killed and reaped by the destructor if nobody waited for it.
class child {
public:
    child() = default;
    child(pid_t pid, unique_fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
    child(child&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}
    child& operator=(child&& other) noexcept {
        if (this != &other) {
            kill_and_reap();
            pid_ = std::exchange(other.pid_, -1);
            pidfd_ = std::move(other.pidfd_);
        }
        return *this;
    }
    ~child() { kill_and_reap(); }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] bool running() const noexcept { return pid_ > 0; }
    /// Becomes readable when the child has ended.
    [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }

    /// Whether somebody has stopped it (SIGSTOP, a debugger): it lives and does nothing.
    [[nodiscard]] bool stands_still() const {
        if (pid_ <= 0)
            return false;
        const unique_fd file(
            ::open(("/proc/" + std::to_string(pid_) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
        char text[512];
        const auto n = file ? ::read(file.get(), text, sizeof text) : -1;
        if (n <= 0)
            return false;
        // Behind the name, which may hold anything.
        const std::string_view stat(text, static_cast<std::size_t>(n));
        const auto at = stat.rfind(") ");
        return at != std::string_view::npos && at + 2 < stat.size() &&
               (stat[at + 2] == 'T' || stat[at + 2] == 't');
    }

    /// The wait status if the child has ended; nothing while it runs.
    [[nodiscard]] std::optional<int> try_wait() {
        int status = 0;
        if (pid_ <= 0 || ::waitpid(pid_, &status, WNOHANG) != pid_)
            return std::nullopt;
        pid_ = -1;
        return status;
    }

    /// Waits at most `limit_ms` for the end, then kills. Returns the wait status.
    int end_within(int limit_ms) {
        if (pid_ <= 0)
            return 0;
        pollfd p{pidfd_.get(), POLLIN, 0};
        if (::poll(&p, 1, limit_ms) <= 0)
            ::kill(pid_, SIGKILL);
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        return status;
    }

    void kill_and_reap() {
        if (pid_ <= 0)
            return;
        ::kill(pid_, SIGKILL);
        end_within(-1);
    }

private:
    pid_t pid_ = -1;
    unique_fd pidfd_;
};

/// Starts a program. Everything between fork and exec is async-signal-safe, because the runner has
/// other threads. An exec that fails is reported here, with its errno, through a close-on-exec pipe.
[[nodiscard]] inline result<child> start_child(const child_request& request) {
    std::vector<char*> argv;
    const std::string program = request.program.string();
    const std::string& name = request.name.empty() ? program : request.name;
    argv.push_back(const_cast<char*>(name.c_str()));
    for (const auto& a : request.arguments)
        argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);

    std::vector<char*> envp;
    // A name that stands there twice is read by each program as it likes.
    for (char** e = environ; *e != nullptr; ++e) {
        const auto name_of = [](std::string_view text) { return text.substr(0, text.find('=')); };
        const auto is_of_name = [&](std::string_view other) {
            return name_of(other) == name_of(*e);
        };
        if (std::none_of(request.environment.begin(), request.environment.end(), is_of_name) &&
            std::none_of(request.withheld.begin(), request.withheld.end(), is_of_name))
            envp.push_back(*e);
    }
    for (const auto& e : request.environment)
        envp.push_back(const_cast<char*>(e.c_str()));
    envp.push_back(nullptr);

    cpu_set_t bound;
    CPU_ZERO(&bound);
    for (const int cpu : request.cpus)
        CPU_SET(static_cast<std::size_t>(cpu), &bound);

    int report[2];
    if (::pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0)
        return system_error("make a pipe to start", program);
    unique_fd report_read(report[0]);
    unique_fd report_write(report[1]);
    unique_fd null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null_fd)
        return system_error("open", "/dev/null");

    const pid_t parent = ::getpid();
    // The caller goes on when the child has executed the program or has ended (CLONE_VFORK, with memory of its
    // own), so that whatever is in the pipe then is all there will be: its end of file would come late where
    // another thread has forked meanwhile a child that still holds the pipe.
    const auto pid = static_cast<pid_t>(::syscall(
        SYS_clone, static_cast<unsigned long>(CLONE_VFORK | SIGCHLD), 0UL, 0UL, 0UL, 0UL));
    if (pid < 0)
        return system_error("start a process for", program,
                            "the process limit is reached (ulimit -u) or memory is short");
    if (pid == 0) {
        // The kernel's word that this process dies with the thread that started it. The check
        // behind it closes the gap in which the runner died before the call.
        if (request.dies_with_us)
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent)
            ::_exit(127);
        if (request.own_session)
            ::setsid();
        if (!request.directory.empty() && ::chdir(request.directory.c_str()) != 0) {
            const int code = errno;
            [[maybe_unused]] auto n = ::write(report_write.get(), &code, sizeof code);
            ::_exit(127);
        }
        if (!request.cpus.empty())
            ::sched_setaffinity(0, sizeof bound, &bound);
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::signal(SIGPIPE, SIG_DFL);
        const auto onto = [&](int fd, int target) { ::dup2(fd >= 0 ? fd : null_fd.get(), target); };
        onto(request.standard_input, 0);
        onto(request.standard_output, 1);
        onto(request.standard_error, 2);
        for (int fd : request.inherited)
            ::fcntl(fd, F_SETFD, 0);
        ::execve(program.c_str(), argv.data(), envp.data());
        const int code = errno;
        [[maybe_unused]] auto n = ::write(report_write.get(), &code, sizeof code);
        ::_exit(127);
    }
    report_write.reset();
    unique_fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    child started(pid, std::move(pidfd));
    int code = 0;
    ssize_t got = 0;
    while ((got = ::read(report_read.get(), &code, sizeof code)) < 0 && errno == EINTR) {
    }
    if (got == static_cast<ssize_t>(sizeof code)) {
        started.end_within(-1);
        return system_error("start", program, {}, code);
    }
    if (started.pidfd() < 0)
        return system_error("watch the process of", program, "a kernel of 5.3 or later is needed");
    return started;
}

}  // namespace ktstr::host
