// SPDX-License-Identifier: MIT
// The work kind fork_exit: a child that ends at once, and is waited for.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::fork_exit&, work_loop& loop) {
    while (loop.goes_on()) {
        const pid_t child = ::fork();
        if (child < 0)
            throw_system_error("fork");
        if (child == 0)
            ::_exit(0);
        reap(child);
        loop.count();
    }
}

}  // namespace ktstr::guest
