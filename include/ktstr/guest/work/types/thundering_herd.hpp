// SPDX-License-Identifier: MIT
// The work kind thundering_herd: a sleeping herd is woken by one call, again and again.
#pragma once

#include <ktstr/guest/work/types/futex_fan_out.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::thundering_herd& work, work_loop& loop) {
    const auto waiters = static_cast<std::uint32_t>(work.waiters);
    if (loop.member() != 0)
        return answer_rounds(waiters, 0, loop);
    while (all_answered(waiters, loop)) {
        // Until all are asleep again; how late this timer is, is not what is measured.
        const auto end =
            to_timespec(work_loop::now() + static_cast<std::uint64_t>(work.gap.count()));
        ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr);
        if (loop.goes_on())
            begin_round(waiters, loop);
    }
}

}  // namespace ktstr::guest
