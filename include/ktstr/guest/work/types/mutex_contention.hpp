// SPDX-License-Identifier: MIT
// The work kind mutex_contention: several workers want one futex lock, and sleep for it.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

// The word is 0: free, 1: held, 2: held and somebody may sleep for it.
inline void run(const work::mutex_contention& work, work_loop& loop) {
    auto& lock = loop.crew().word(0);
    while (loop.goes_on()) {
        std::uint32_t was = 0;
        if (!lock.value.compare_exchange_strong(was, 1, std::memory_order_acquire)) {
            while (lock.value.exchange(2, std::memory_order_acquire) != 0) {
                if (!loop.wait_while(lock, 2))
                    return;
                loop.woken(lock.since_ns.load(std::memory_order_acquire));
            }
        }
        work_loop::spin(work.hold_spins);
        lock.since_ns.store(work_loop::now(), std::memory_order_release);
        if (lock.value.exchange(0, std::memory_order_release) == 2)
            futex_wake(lock.value, 1);
        work_loop::spin(work.work_spins);
        loop.count();
    }
}

}  // namespace ktstr::guest
