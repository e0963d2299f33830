// SPDX-License-Identifier: MIT
// The work kind deadline_frames: a frame in every period, which has to be done before the next one.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::deadline_frames& work, work_loop& loop) {
    const auto period = static_cast<std::uint64_t>(work.period.count());
    auto begin = work_loop::now();
    while (loop.goes_on()) {
        const auto end =
            now_ns(CLOCK_PROCESS_CPUTIME_ID) + static_cast<std::uint64_t>(work.budget.count());
        while (loop.goes_on() && now_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
            work_loop::spin(256);
        if (!loop.goes_on())
            break;  // this frame was cut off
        const auto now = work_loop::now();
        // Frames that could not even begin are missed as well.
        const auto late = (now - begin) / period;
        loop.deadline(late == 0);
        for (std::uint64_t i = 0; i < late; ++i)
            loop.deadline(false);
        loop.count();
        begin += (late + 1) * period;
        loop.sleep_until(begin);
    }
}

}  // namespace ktstr::guest
