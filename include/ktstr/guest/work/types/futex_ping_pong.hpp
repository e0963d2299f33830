// SPDX-License-Identifier: MIT
// The work kind futex_ping_pong: two workers wake each other through one futex.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

// The word is whose turn it is.
inline void run(const work::futex_ping_pong& work, work_loop& loop) {
    auto& turn = loop.crew().word(0);
    const auto self = static_cast<std::uint32_t>(loop.member());
    while (loop.goes_on()) {
        if (!loop.wait_while(turn, 1 - self))
            break;
        loop.woken(turn.since_ns.load(std::memory_order_acquire));
        work_loop::spin(work.spins);
        turn.since_ns.store(work_loop::now(), std::memory_order_relaxed);
        turn.value.store(1 - self, std::memory_order_release);
        futex_wake(turn.value, 1);
        loop.count();
    }
}

}  // namespace ktstr::guest
