// SPDX-License-Identifier: MIT
// The work kind idle_churn: short bursts and short sleeps, so that its CPU goes idle and wakes up all the time.
#pragma once

#include <ktstr/guest/work/types/bursty.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::idle_churn& work, work_loop& loop) {
    run(work::bursty{.burst = work.burst, .sleep = work.sleep}, loop);
}

}  // namespace ktstr::guest
