// SPDX-License-Identifier: MIT
// The work kind stop_the_world: one worker stops all others for a while, as a garbage collector does.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

// Words: 0 is 1 while the world stands still, 1 how many stand still.
inline void run(const work::stop_the_world& work, work_loop& loop) {
    auto& halt = loop.crew().word(0);
    auto& halted = loop.crew().word(1);
    const auto mutators = static_cast<std::uint32_t>(work.mutators);
    if (loop.member() != 0) {
        while (loop.goes_on()) {
            if (halt.value.load(std::memory_order_acquire) == 1) {
                if (halted.value.fetch_add(1, std::memory_order_acq_rel) + 1 == mutators)
                    futex_wake(halted.value, 1);
                const bool went_on = loop.wait_while(halt, 1);
                halted.value.fetch_sub(1, std::memory_order_acq_rel);
                if (!went_on)
                    break;
                loop.woken(halt.since_ns.load(std::memory_order_acquire));
            }
            work_loop::spin(work.spins);
            loop.count();
        }
        return;
    }
    while (loop.goes_on()) {
        const auto end =
            to_timespec(work_loop::now() + static_cast<std::uint64_t>(work.every.count()));
        ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr);
        halt.value.store(1, std::memory_order_release);
        bool all = loop.goes_on();
        for (auto now = halted.value.load(); all && now != mutators; now = halted.value.load())
            all = loop.wait_while(halted, now);
        if (all)
            loop.spin_until(work_loop::now() + static_cast<std::uint64_t>(work.pause.count()));
        halt.since_ns.store(work_loop::now(), std::memory_order_relaxed);
        halt.value.store(0, std::memory_order_release);
        futex_wake(halt.value, work.mutators);
        if (all)
            loop.count();
    }
}

}  // namespace ktstr::guest
