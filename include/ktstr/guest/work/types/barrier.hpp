// SPDX-License-Identifier: MIT
// The work kind barrier: all workers of a crew wait for the last one.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

// Words: 0 the round, 1 how many have arrived, 2 and more: the round that a worker waits to end, and whether it does.
inline void run(const work::barrier& work, work_loop& loop) {
    auto& round = loop.crew().word(0);
    auto& arrived = loop.crew().word(1).value;
    auto& own = loop.crew().word(2 + static_cast<std::size_t>(loop.member()));
    while (loop.goes_on()) {
        if (own.value.load(std::memory_order_relaxed) == 0) {
            work_loop::spin(work.spins);
            const auto now = round.value.load(std::memory_order_acquire);
            if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 ==
                static_cast<std::uint32_t>(work.parties)) {
                arrived.store(0, std::memory_order_relaxed);
                round.since_ns.store(work_loop::now(), std::memory_order_relaxed);
                round.value.store(now + 1, std::memory_order_release);
                futex_wake(round.value, work.parties);
                loop.count();
                continue;
            }
            own.since_ns.store(now, std::memory_order_relaxed);
            own.value.store(1, std::memory_order_relaxed);
        }
        if (!loop.wait_while(
                round, static_cast<std::uint32_t>(own.since_ns.load(std::memory_order_relaxed))))
            break;
        own.value.store(0, std::memory_order_relaxed);
        loop.woken(round.since_ns.load(std::memory_order_acquire));
        loop.count();
    }
}

}  // namespace ktstr::guest
