// SPDX-License-Identifier: MIT
// The work kind preempt_storm: a real-time worker wakes up again and again among others that spin.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::preempt_storm& work, work_loop& loop) {
    if (loop.member() != 0) {
        while (loop.goes_on()) {
            work_loop::spin(work.spins);
            loop.count();
        }
        return;
    }
    const sched_param lowest{1};
    const sched_param none{};
    if (::sched_setscheduler(0, SCHED_FIFO, &lowest) != 0)
        throw_system_error("give SCHED_FIFO to");
    while (loop.goes_on()) {
        loop.sleep_until(work_loop::now() + static_cast<std::uint64_t>(work.interval.count()));
        loop.count();
    }
    ::sched_setscheduler(0, SCHED_OTHER, &none);
}

}  // namespace ktstr::guest
