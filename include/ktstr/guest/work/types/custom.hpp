// SPDX-License-Identifier: MIT
// The work kind custom: a function of the test's, with the telemetry of any other kind.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::custom& work, work_loop& loop) {
    work::worker worker(&loop, work.data);
    work.run(worker);
}

}  // namespace ktstr::guest
