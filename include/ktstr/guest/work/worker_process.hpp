// SPDX-License-Identifier: MIT
// A worker's whole life, from fork to _exit: its own process group, the default scheduling policy,
// wait at the gate, work, leave the numbers in its slot. Guest side, in the worker's own process.
#pragma once

#include <ktstr/guest/work/run_work.hpp>
#include <ktstr/linux/clock.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <type_traits>

#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace ktstr::guest {

namespace detail {

/// Exit status of a worker that gave up and left the reason in its slot.
inline constexpr int worker_gave_up = 125;

/// Both sides are different processes, so no FUTEX_PRIVATE.
inline void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t while_it_is) {
    while (word.load(std::memory_order_acquire) == while_it_is)
        ::syscall(SYS_futex, &word, FUTEX_WAIT, while_it_is, nullptr, nullptr, 0);
}
inline void futex_wake_all(const std::atomic<std::uint32_t>& word) {
    ::syscall(SYS_futex, &word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

/// The body's handlers are the body's: a crash of a worker must look like one.
inline void reset_signals() {
    for (int signal = 1; signal < NSIG; ++signal)
        std::signal(signal, SIG_DFL);
    struct sigaction interrupt {};
    interrupt.sa_handler = [](int) {};  // no SA_RESTART: it is there to end blocking calls
    ::sigaction(SIGUSR1, &interrupt, nullptr);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] inline void worker_main(const work_kind& kind, worker_slot& slot, worker_gate& gate,
                                     int ready_fd, pid_t parent) {
    ::setpgid(0, 0);
    // A body that dies must not leave its load behind. The check closes the gap before the call.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent)
        ::_exit(worker_gave_up);
    reset_signals();
    ::prctl(PR_SET_NAME, "ktstr-worker");
    const sched_param no_priority{};
    if (::sched_getscheduler(0) != SCHED_OTHER &&
        ::sched_setscheduler(0, SCHED_OTHER, &no_priority) != 0) {
        slot.set_failure("it could not get the policy SCHED_OTHER");
        ::_exit(worker_gave_up);
    }
    slot.phase.store(worker_phase::ready, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto told = ::write(ready_fd, &one, sizeof one);

    futex_wait(gate.open, 0);
    slot.phase.store(worker_phase::running, std::memory_order_release);
    const auto cpu_before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    try {
        work_loop loop(slot, gate);
        run_work(kind, loop);
    } catch (const std::exception& e) {
        slot.set_failure(e.what());
        ::_exit(worker_gave_up);
    } catch (...) {
        slot.set_failure("it threw something that is no std::exception");
        ::_exit(worker_gave_up);
    }
    slot.cpu_ns.store(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_before, std::memory_order_relaxed);
    slot.finished_ns.store(now_ns(CLOCK_MONOTONIC), std::memory_order_relaxed);
    slot.phase.store(worker_phase::finished, std::memory_order_release);
    ::_exit(0);
}

}  // namespace detail

}  // namespace ktstr::guest
