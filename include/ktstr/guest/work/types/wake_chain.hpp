// SPDX-License-Identifier: MIT
// The work kind wake_chain: a token goes around a ring of workers, each of which works on it.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <unistd.h>

namespace ktstr::guest {

[[nodiscard]] inline result<void> prepare(const work::wake_chain& work, crew& crew) {
    crew.word(0).value = 1;  // who has the token
    for (int i = 0; i < work.depth && work.by == work::wake_path::pipe; ++i)
        if (auto made = crew.add_pipe(); !made)
            return made;
    return {};
}

inline void run(const work::wake_chain& work, work_loop& loop) {
    const auto self = static_cast<std::size_t>(loop.member());
    const auto next = (self + 1) % static_cast<std::size_t>(work.depth);
    auto& mine = loop.crew().word(self);
    auto& others = loop.crew().word(next);
    char byte = 0;
    while (loop.goes_on()) {
        if (mine.value.load(std::memory_order_acquire) == 0) {
            if (work.by == work::wake_path::futex) {
                if (!loop.wait_while(mine, 0))
                    break;
            } else {
                if (::read(loop.crew().fd(2 * self), &byte, 1) != 1)
                    continue;
                mine.value.store(1, std::memory_order_relaxed);
            }
            loop.woken(mine.since_ns.load(std::memory_order_acquire));
        }
        loop.spin_until(work_loop::now() + static_cast<std::uint64_t>(work.work.count()));
        others.since_ns.store(work_loop::now(), std::memory_order_release);
        mine.value.store(0, std::memory_order_relaxed);
        if (work.by == work::wake_path::futex) {
            others.value.store(1, std::memory_order_release);
            futex_wake(others.value, 1);
        } else if (::write(loop.crew().fd(2 * next + 1), &byte, 1) != 1) {
            mine.value.store(1, std::memory_order_relaxed);
            continue;
        }
        loop.count();
    }
}

}  // namespace ktstr::guest
