// SPDX-License-Identifier: MIT
// The work kind spin_wait: nothing but CPU time.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const spin_wait& work, work_loop& loop) {
    while (loop.goes_on()) {
        // No PAUSE in here. Hardware takes many of them in a row for a lock whose holder is not
        // running, leaves the guest and gives the CPU away: with more vCPUs than CPUs that is a
        // yield, not a spin. Emulators leave their fast path for it.
        for (int i = 0; i < work.spins; ++i)
            asm volatile("");
        loop.count();
    }
}

}  // namespace ktstr::guest
