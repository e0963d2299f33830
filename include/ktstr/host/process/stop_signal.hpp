// SPDX-License-Identifier: MIT
// SIGINT, SIGTERM and SIGHUP as something to poll: every loop of the run watches one descriptor and
// ends in order, and whatever waits for another process or a tool watches it too. A second signal ends
// the process at once; the janitor and the kernel clean up. A signal that was ignored stays so, as nohup
// wants it. Host side.
#pragma once

#include <ktstr/base/unique_fd.hpp>

#include <atomic>
#include <csignal>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

namespace ktstr::host {

class stop_signal {
public:
    /// Installs the handlers. One for a process.
    stop_signal() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        state().fd = event_.get();
        state().signal = 0;
        struct sigaction action {};
        action.sa_handler = [](int signal) {
            if (state().signal != 0) {
                ::signal(signal, SIG_DFL);
                ::raise(signal);
                return;
            }
            state().signal = signal;
            const std::uint64_t one = 1;
            [[maybe_unused]] const auto n = ::write(state().fd, &one, sizeof one);
        };
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
            struct sigaction before {};
            ::sigaction(signal, nullptr, &before);
            if (before.sa_handler != SIG_IGN)
                ::sigaction(signal, &action, nullptr);
        }
        ::signal(SIGPIPE, SIG_IGN);
    }

    stop_signal(const stop_signal&) = delete;
    ~stop_signal() { state().fd = -1; }

    /// Readable from the first signal on; nobody drains it, so every poller sees it.
    [[nodiscard]] int fd() const noexcept { return event_.get(); }
    /// The same for those who wait deep below: -1, which poll() passes over, where signals have not
    /// been taken and simply end the process.
    [[nodiscard]] static int watched_fd() noexcept { return state().fd; }
    /// The signal that came, or 0.
    [[nodiscard]] static int received() noexcept { return state().signal; }
    /// For a process that has answered it and goes on.
    static void forget() noexcept { state().signal = 0; }

private:
    struct shared {
        int fd = -1;
        volatile std::sig_atomic_t signal = 0;
    };
    static shared& state() {
        static shared s;
        return s;
    }
    unique_fd event_;
};

}  // namespace ktstr::host
