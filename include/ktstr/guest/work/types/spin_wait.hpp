// SPDX-License-Identifier: MIT
// The work kind spin_wait: nothing but CPU time.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::spin_wait& work, work_loop& loop) {
    while (loop.goes_on()) {
        work_loop::spin(work.spins);
        loop.count();
    }
}

}  // namespace ktstr::guest
