// SPDX-License-Identifier: MIT
// The work kind policy_churn: another scheduling policy in every turn.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <cstddef>
#include <iterator>

namespace ktstr::guest {

inline void run(const work::policy_churn& work, work_loop& loop) {
    constexpr int policies[] = {SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR, SCHED_OTHER};
    std::size_t at = 0;
    while (loop.goes_on()) {
        const int policy = policies[at];
        at = (at + 1) % std::size(policies);
        // The lowest real-time priority; who may not use it stays what it was for this turn.
        const sched_param priority{policy == SCHED_FIFO || policy == SCHED_RR ? 1 : 0};
        ::sched_setscheduler(0, policy, &priority);
        work_loop::spin(work.spins);
        loop.count();
    }
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_OTHER, &none);
}

}  // namespace ktstr::guest
