// SPDX-License-Identifier: MIT
// The work kind priority_inversion: an important worker waits for a lock of an unimportant one, and a third is in between.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

namespace detail {

// A lock with priority inheritance has its owner's thread id in its word; the kernel does what is contended.
inline void lock_pi(crew_word& lock) {
    std::uint32_t was = 0;
    if (lock.value.compare_exchange_strong(was, static_cast<std::uint32_t>(::getpid())))
        return;
    while (::syscall(SYS_futex, &lock.value, FUTEX_LOCK_PI, 0, nullptr, nullptr, 0) != 0)
        if (errno != EINTR && errno != EAGAIN)
            throw_system_error("lock a futex for");
}
inline void unlock_pi(crew_word& lock) {
    auto own = static_cast<std::uint32_t>(::getpid());
    if (!lock.value.compare_exchange_strong(own, 0))
        ::syscall(SYS_futex, &lock.value, FUTEX_UNLOCK_PI, 0, nullptr, nullptr, 0);
}

// The same without: 0 is free, 1 held, 2 held and somebody may sleep for it. Whoever has it gives it back before it stops,
// so waiting needs no way out.
inline void lock_plain(crew_word& lock) {
    std::uint32_t was = 0;
    if (lock.value.compare_exchange_strong(was, 1))
        return;
    while (lock.value.exchange(2) != 0)
        futex_wait_once(lock.value, 2);
}
inline void unlock_plain(crew_word& lock) {
    if (lock.value.exchange(0) == 2)
        futex_wake(lock.value, 1);
}

}  // namespace detail

inline void run(const work::priority_inversion& work, work_loop& loop) {
    auto& lock = loop.crew().word(0);
    const bool inherits = work.lock == work::lock_kind::pi;
    // All on one CPU: where each has its own, nobody is in anybody's way.
    cpu_set_t allowed;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        throw_system_error("read the CPUs of");
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
        if (CPU_ISSET(cpu, &allowed))
            CPU_SET(cpu, &one);
    if (::sched_setaffinity(0, sizeof one, &one) != 0)
        throw_system_error("bind");
    const bool high = loop.member() == 0, low = loop.member() == 2;
    const sched_param priority{high ? 3 : 2};
    if (!low && ::sched_setscheduler(0, SCHED_FIFO, &priority) != 0)
        throw_system_error("give SCHED_FIFO to");
    while (loop.goes_on()) {
        if (!low) {
            const auto pause = to_timespec(work_loop::now() + 1'000'000);
            ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &pause, nullptr);
        }
        if (high || low) {
            const auto since = work_loop::now();
            inherits ? detail::lock_pi(lock) : detail::lock_plain(lock);
            if (high)
                loop.woken(since);
            work_loop::spin(work.hold_spins);
            inherits ? detail::unlock_pi(lock) : detail::unlock_plain(lock);
        }
        if (!high)
            work_loop::spin(work.work_spins);
        loop.count();
    }
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_OTHER, &none);
    ::sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace ktstr::guest
