// SPDX-License-Identifier: MIT
// Keeps the calling thread out of the hands of the scheduler under test while it conducts a
// scenario: a scheduler that starves the workers must not be able to stretch the hold or keep the
// workers from being stopped. Guest side.
#pragma once

#include <sched.h>

namespace ktstr::guest {

/// SCHED_FIFO for the lifetime of the object, where this is allowed; what it forks is SCHED_OTHER
/// again. A thread that already is above fair scheduling stays what it is.
class above_scheduler {
public:
    above_scheduler() {
        const int policy = ::sched_getscheduler(0);
        const int plain = policy & ~SCHED_RESET_ON_FORK;
        if (policy < 0 || plain == SCHED_FIFO || plain == SCHED_RR || plain == sched_deadline)
            return;
        // The lowest priority of all: the agent has to come first.
        const sched_param lowest{1};
        if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) == 0)
            before_ = policy;
    }
    above_scheduler(const above_scheduler&) = delete;
    above_scheduler& operator=(const above_scheduler&) = delete;
    ~above_scheduler() {
        const sched_param none{};
        if (before_ >= 0)
            ::sched_setscheduler(0, before_, &none);
    }

private:
    static constexpr int sched_deadline = 6;  // not in every C library

    int before_ = -1;
};

}  // namespace ktstr::guest
