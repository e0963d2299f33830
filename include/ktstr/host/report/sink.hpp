// SPDX-License-Identifier: MIT
// Where a report's bytes go. Each write is handed to the kernel whole and at once, so that a killed
// runner leaves whole lines; an error is remembered, not thrown, because a full disk must not
// decide how a test ended.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/linux/write_all.hpp>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace ktstr::host {

class sink {
public:
    sink() = default;
    sink(const sink&) = delete;
    sink& operator=(const sink&) = delete;
    virtual ~sink() = default;

    virtual void write(std::string_view bytes) = 0;
    [[nodiscard]] virtual std::optional<error> problem() const { return std::nullopt; }
};

/// Turns the SIGPIPE of this thread's writes into a plain EPIPE: `my_tests --json - | head -1` must
/// not kill a runner that has machines to take down.
class no_sigpipe {
public:
    no_sigpipe() {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;
    ~no_sigpipe() {
        if (sigismember(&before_, SIGPIPE) == 0) {
            const int saved = errno;
            const ::timespec at_once{};
            while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
            }
            ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
            errno = saved;
        }
    }

private:
    ::sigset_t pipe_{};
    ::sigset_t before_{};
};

/// Writes everything to a descriptor, blocking or not; `name` is what an error calls it.
[[nodiscard]] inline result<void> write_named(int fd, std::string_view bytes,
                                              const std::string& name) {
    const no_sigpipe quietly;
    if (!write_all(fd, bytes))
        return system_error("write", name);
    return {};
}

class fd_sink final : public sink {
public:
    /// Borrows a descriptor that stays open, such as standard output.
    fd_sink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
    fd_sink(unique_fd fd, std::string name)
        : owned_(std::move(fd)), fd_(owned_.get()), name_(std::move(name)) {}

    void write(std::string_view bytes) override {
        if (problem_)
            return;
        if (auto done = write_named(fd_, bytes, name_); !done)
            problem_ = done.error();
    }
    [[nodiscard]] std::optional<error> problem() const override { return problem_; }

private:
    unique_fd owned_;
    int fd_;
    std::string name_;
    std::optional<error> problem_;
};

/// A new, empty file at `path`; `what` names the report in the error.
[[nodiscard]] inline result<std::unique_ptr<sink>> create_file_sink(const std::string& what,
                                                                    const std::string& path) {
    unique_fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!fd)
        return system_error("write " + what + " to", path, "give a path that can be written");
    return std::unique_ptr<sink>(std::make_unique<fd_sink>(std::move(fd), path));
}

}  // namespace ktstr::host
