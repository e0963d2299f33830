// SPDX-License-Identifier: MIT
// The work kind compile_tree: short processes that have short processes, as a build has.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::compile_tree& work, work_loop& loop) {
    const auto job = [&work] {
        // A driver that has its compiler do the work.
        const pid_t compiler = ::fork();
        if (compiler == 0) {
            while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < static_cast<std::uint64_t>(work.work.count()))
                work_loop::spin(256);
            ::_exit(0);
        }
        if (compiler > 0)
            reap(compiler);
        ::_exit(compiler < 0 ? 1 : 0);
    };
    while (loop.goes_on()) {
        pid_t drivers[64];
        for (std::int64_t i = 0; i < work.jobs; ++i) {
            drivers[i] = ::fork();
            if (drivers[i] < 0)
                throw_system_error("fork");
            if (drivers[i] == 0)
                job();
        }
        for (std::int64_t i = 0; i < work.jobs; ++i)
            reap(drivers[i]);
        loop.count();
    }
}

}  // namespace ktstr::guest
