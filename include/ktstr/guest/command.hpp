// SPDX-License-Identifier: MIT
// A command the host asked for, with or without a terminal of its own: what --shell and the machine
// around nested runs use. Its output is not limited: a person or the host's own runner reads it.
// Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/link.hpp>
#include <ktstr/wire/message.hpp>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace ktstr::guest {

class command_process {
public:
    [[nodiscard]] static result<command_process> start(const wire::run_command& order) {
        if (order.argv.empty())
            return plain_error("start a command", "", "the host named none");
        command_process command;
        unique_fd child_end, child_errors;
        if (order.terminal) {
            command.fd_ = unique_fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
            if (!command.fd_ || ::grantpt(command.fd_.get()) != 0 ||
                ::unlockpt(command.fd_.get()) != 0)
                return system_error("open", "a terminal");
            child_end =
                unique_fd(::open(::ptsname(command.fd_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
            command.resize(order.rows, order.columns);
        } else {
            int pair[2], errors[2];
            if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
                ::pipe2(errors, O_CLOEXEC) != 0)
                return system_error("make a socket for", order.argv[0]);
            command.fd_ = unique_fd(pair[0]);
            child_end = unique_fd(pair[1]);
            command.errors_ = unique_fd(errors[0]);
            child_errors = unique_fd(errors[1]);
            ::fcntl(errors[0], F_SETFL, O_NONBLOCK);
        }
        if (!child_end)
            return system_error("open", "the command's end of its terminal");
        std::vector<char*> argv;
        for (const auto& a : order.argv)
            argv.push_back(const_cast<char*>(a.c_str()));
        argv.push_back(nullptr);
        std::vector<char*> envp;
        for (const auto& e : order.environment)
            envp.push_back(const_cast<char*>(e.c_str()));
        envp.push_back(nullptr);
        command.pid_ = ::fork();
        if (command.pid_ < 0)
            return system_error("fork", order.argv[0]);
        if (command.pid_ == 0) {
            ::setsid();
            if (order.terminal)
                ::ioctl(child_end.get(), TIOCSCTTY, 0);
            sigset_t none;
            sigemptyset(&none);
            ::sigprocmask(SIG_SETMASK, &none, nullptr);
            ::signal(SIGPIPE, SIG_DFL);
            for (int fd : {0, 1, 2})
                ::dup2(fd == 2 && child_errors ? child_errors.get() : child_end.get(), fd);
            ::execve(argv[0], argv.data(), envp.data());
            ::dprintf(2, "ktstr: cannot start %s: %s\n", argv[0], std::strerror(errno));
            ::_exit(127);
        }
        ::fcntl(command.fd_.get(), F_SETFL, O_NONBLOCK);
        return command;
    }

    command_process(command_process&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)),
          fd_(std::move(other.fd_)),
          errors_(std::move(other.errors_)) {}
    command_process& operator=(command_process&&) = delete;
    ~command_process() = default;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] int output_fd() const noexcept { return fd_.get(); }
    /// Standard error, where it is apart from the output: not with a terminal.
    [[nodiscard]] int errors_fd() const noexcept { return errors_.get(); }

    template <class Send>
    void pump_output(const Send& send) {
        pump(fd_, wire::stream::out, send);
        pump(errors_, wire::stream::err, send);
    }

    void write_input(std::string_view bytes) {
        if (!fd_)
            return;
        if (bytes.empty())
            ::shutdown(fd_.get(), SHUT_WR);
        else
            (void)write_all(fd_.get(), bytes);  // a command that reads no more has lost nothing
    }

    void resize(std::uint16_t rows, std::uint16_t columns) {
        const winsize size{rows, columns, 0, 0};
        if (fd_)
            ::ioctl(fd_.get(), TIOCSWINSZ, &size);
    }

private:
    command_process() = default;

    template <class Send>
    static void pump(unique_fd& fd, wire::stream stream, const Send& send) {
        char chunk[wire::output_chunk];
        for (int reads = 0; fd && reads < 64; ++reads) {
            const auto n = ::read(fd.get(), chunk, sizeof chunk);
            if (n > 0) {
                send(wire::output{stream, std::string(chunk, static_cast<std::size_t>(n))});
                continue;
            }
            // A terminal whose last user has gone reads as EIO.
            if (n == 0 || (errno != EAGAIN && errno != EINTR))
                fd.reset();
            return;
        }
    }

    pid_t pid_ = -1;
    unique_fd fd_;
    unique_fd errors_;
};

}  // namespace ktstr::guest
