// SPDX-License-Identifier: MIT
// The work kind yield_heavy: sched_yield() and nothing else.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::yield_heavy&, work_loop& loop) {
    while (loop.goes_on()) {
        ::sched_yield();
        loop.count();
    }
}

}  // namespace ktstr::guest
