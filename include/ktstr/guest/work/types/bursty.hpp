// SPDX-License-Identifier: MIT
// The work kind bursty: CPU time for a while, then a sleep.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::bursty& work, work_loop& loop) {
    while (loop.goes_on()) {
        // Of wall time: one that is not run has a shorter burst, as an interactive task's work waits for nobody.
        loop.spin_until(work_loop::now() + static_cast<std::uint64_t>(work.burst.count()));
        loop.sleep_until(work_loop::now() + static_cast<std::uint64_t>(work.sleep.count()));
        loop.count();
    }
}

}  // namespace ktstr::guest
