// SPDX-License-Identifier: MIT
// The work kind affinity_churn: bound to another of its CPUs in every turn.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

inline void run(const work::affinity_churn& work, work_loop& loop) {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        throw_system_error("read the CPUs of");
    int cpu = loop.index();
    while (loop.goes_on()) {
        do {
            cpu = (cpu + 1) % CPU_SETSIZE;
        } while (!CPU_ISSET(cpu, &allowed));
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        // A cpuset that has changed meanwhile may refuse it; the next turn has another one.
        ::sched_setaffinity(0, sizeof one, &one);
        work_loop::spin(work.spins);
        loop.count();
    }
    ::sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace ktstr::guest
