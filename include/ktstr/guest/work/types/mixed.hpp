// SPDX-License-Identifier: MIT
// The work kind mixed: a burst of CPU time, then sched_yield().
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::mixed& work, work_loop& loop) {
    while (loop.goes_on()) {
        work_loop::spin(work.spins);
        ::sched_yield();
        loop.count();
    }
}

}  // namespace ktstr::guest
