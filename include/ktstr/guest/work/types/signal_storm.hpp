// SPDX-License-Identifier: MIT
// The work kind signal_storm: two workers send each other signals.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <csignal>

namespace ktstr::guest {

inline void run(const work::signal_storm& work, work_loop& loop) {
    struct sigaction quiet {};
    quiet.sa_handler = [](int) {};
    ::sigaction(SIGUSR2, &quiet, nullptr);
    auto& mine = loop.crew().word(static_cast<std::size_t>(loop.member()));
    auto& other = loop.crew().word(1 - static_cast<std::size_t>(loop.member()));
    // Only now: before, the signal would have been the end of this process.
    mine.value.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_release);
    futex_wake(mine.value, 1);
    if (!loop.wait_while(other, 0))
        return;
    const auto target = static_cast<pid_t>(other.value.load(std::memory_order_acquire));
    while (loop.goes_on()) {
        for (int i = 0; i < work.signals; ++i)
            ::syscall(SYS_tkill, target, SIGUSR2);
        work_loop::spin(work.spins);
        loop.count();
    }
}

}  // namespace ktstr::guest
