// SPDX-License-Identifier: MIT
// The work kind epoll_storm: events for whoever of several waiting workers is woken.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace ktstr::guest {

[[nodiscard]] inline result<void> prepare(const work::epoll_storm&, crew& crew) {
    crew.keep(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE));
    if (crew.fd(0) < 0)
        return system_error("make an eventfd for", "workers that work together");
    return {};
}

// Words: 0 how many events there were, 1 how many were taken.
inline void run(const work::epoll_storm& work, work_loop& loop) {
    auto& made = loop.crew().word(0);
    auto& taken = loop.crew().word(1);
    const int events = loop.crew().fd(0);
    if (loop.member() == 0) {
        const auto burst = static_cast<std::uint64_t>(work.events);
        while (loop.goes_on()) {
            const auto due = made.value.load(std::memory_order_relaxed);
            const auto now = taken.value.load(std::memory_order_acquire);
            if (now != due) {
                if (!loop.wait_while(taken, now))
                    return;
                continue;
            }
            made.since_ns.store(work_loop::now(), std::memory_order_relaxed);
            made.value.store(due + static_cast<std::uint32_t>(burst), std::memory_order_release);
            if (::write(events, &burst, sizeof burst) != sizeof burst)
                throw_system_error("write to the eventfd of");
            loop.count();
        }
        return;
    }
    const unique_fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    if (!epoll || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, events, &event) != 0)
        throw_system_error("make an epoll for");
    while (loop.goes_on()) {
        if (::epoll_wait(epoll.get(), &event, 1, -1) != 1)
            continue;
        std::uint64_t one = 0;
        bool first = true;
        while (::read(events, &one, sizeof one) == sizeof one) {
            if (first)
                loop.woken(made.since_ns.load(std::memory_order_acquire));
            first = false;
            loop.count();
            if (taken.value.fetch_add(1, std::memory_order_acq_rel) + 1 ==
                made.value.load(std::memory_order_acquire))
                futex_wake(taken.value, 1);
        }
    }
}

}  // namespace ktstr::guest
