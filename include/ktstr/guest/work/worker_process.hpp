// SPDX-License-Identifier: MIT
// A worker's whole life, from fork to _exit: its own process group, the default scheduling policy,
// wait at the gate, work through its phases, leave the numbers in its slot. Guest side, in the worker's own process.
#pragma once

#include <ktstr/guest/work/kernel_account.hpp>
#include <ktstr/guest/work/run_work.hpp>
#include <ktstr/linux/clock.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
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
    interrupt.sa_handler = [](int) { phase_is_over().store(1, std::memory_order_relaxed); };
    ::sigaction(SIGALRM, &interrupt, nullptr);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace detail

/// One worker's share of its group's work: in each phase what it does, where it counts, and with whom.
struct assignment {
    struct part {
        work_kind kind{};
        std::uint64_t lasts_ns = 0;  ///< 0: all the time
        phase_slot* slot = nullptr;
        const crew* with = nullptr;
        int member = 0;  ///< of the crew
    };
    std::vector<part> parts{};
    int index = 0;  ///< in its work group
};

namespace detail {

/// Has SIGALRM end a phase at `end`. It comes again and again: one that arrives just before a call that blocks would
/// interrupt nothing.
inline void end_phase_at(std::uint64_t end) {
    const auto now = now_ns(CLOCK_MONOTONIC);
    const auto left = end > now ? end - now : 1;
    const auto us = std::max<std::uint64_t>(1, left / 1'000);
    itimerval timer{};
    timer.it_value = {static_cast<time_t>(us / 1'000'000),
                      static_cast<suseconds_t>(us % 1'000'000)};
    timer.it_interval = {0, 10'000};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

/// Phase after phase, around and around, until the gate's stop.
inline void work_through(const assignment& all, worker_slot& slot, const worker_gate& gate) {
    // The plan is absolute, so that partners that were late in one phase are together in the next.
    auto planned_end = gate.released_ns.load(std::memory_order_relaxed);
    for (std::size_t at = 0;;) {
        const auto& part = all.parts[at];
        planned_end += part.lasts_ns;
        phase_is_over().store(0, std::memory_order_relaxed);
        work_loop loop(*part.slot, gate, part.with, part.member, all.index);
        if (part.lasts_ns == 0)
            return run_work(part.kind, loop);
        // One that came too late for a phase leaves it out.
        const bool in_time = work_loop::now() < planned_end;
        if (in_time) {
            end_phase_at(planned_end);
            run_work(part.kind, loop);
            // With this call's end a signal that is on its way has arrived.
            const itimerval none{};
            ::setitimer(ITIMER_REAL, &none, nullptr);
        }
        if (gate.stop.load(std::memory_order_relaxed) != 0)
            return;
        at = (at + 1) % all.parts.size();
        if (in_time) {
            const auto now = work_loop::now();
            const auto account = read_kernel_account(::getpid());
            slot.settle(*part.slot, now, account);
            slot.begin(at, now, account);
        }
        slot.at_phase.set(at);
    }
}

[[noreturn]] inline void worker_main(const assignment& all, worker_slot& slot, worker_gate& gate,
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
    try {
        work_through(all, slot, gate);
    } catch (const std::exception& e) {
        slot.set_failure(e.what());
        ::_exit(worker_gave_up);
    } catch (...) {
        slot.set_failure("it threw something that is no std::exception");
        ::_exit(worker_gave_up);
    }
    slot.finished_ns.store(now_ns(CLOCK_MONOTONIC), std::memory_order_relaxed);
    slot.phase.store(worker_phase::finished, std::memory_order_release);
    // At rest until everybody is: so what the kernel counts for each and for their cgroups is read at one moment, and
    // without what it costs to end.
    [[maybe_unused]] const auto done = ::write(ready_fd, &one, sizeof one);
    futex_wait(gate.leave, 0);
    ::_exit(0);
}

}  // namespace detail

}  // namespace ktstr::guest
