// SPDX-License-Identifier: MIT
// The work kind timer_latency: a timer at absolute times, and how late it wakes the worker.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <sys/prctl.h>

namespace ktstr::guest {

inline void run(const work::timer_latency& work, work_loop& loop) {
    ::prctl(PR_SET_TIMERSLACK, 1);  // or the kernel may put it off for 50 us
    const auto interval = static_cast<std::uint64_t>(work.interval.count());
    auto due = work_loop::now() + interval;
    while (loop.goes_on()) {
        loop.sleep_until(due);
        const auto now = work_loop::now();
        if (now < due)
            continue;
        loop.deadline(now < due + interval);
        // What was slept through is not made up for.
        due += (now - due) / interval * interval + interval;
        loop.count();
    }
    ::prctl(PR_SET_TIMERSLACK, 0);
}

}  // namespace ktstr::guest
