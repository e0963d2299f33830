// SPDX-License-Identifier: MIT
// The work kind nice_sweep: another nice value in every turn.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <sys/resource.h>

namespace ktstr::guest {

inline void run(const work::nice_sweep& work, work_loop& loop) {
    // Without the right to it the kernel refuses the lower half.
    const int least = ::setpriority(PRIO_PROCESS, 0, -20) == 0 ? -20 : 0;
    int nice = least;
    while (loop.goes_on()) {
        ::setpriority(PRIO_PROCESS, 0, nice);
        nice = nice == 19 ? least : nice + 1;
        work_loop::spin(work.spins);
        loop.count();
    }
    ::setpriority(PRIO_PROCESS, 0, 0);
}

}  // namespace ktstr::guest
