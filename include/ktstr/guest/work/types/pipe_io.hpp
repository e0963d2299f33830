// SPDX-License-Identifier: MIT
// The work kind pipe_io: one byte there and back between two workers, through two pipes.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <unistd.h>

namespace ktstr::guest {

[[nodiscard]] inline result<void> prepare(const work::pipe_io&, crew& crew) {
    crew.word(0).value =
        1;  // whose turn it is to write: in a later visit of this phase it is whoever's it was
    if (auto made = crew.add_pipe(); !made)
        return made;
    return crew.add_pipe();
}

inline void run(const work::pipe_io& work, work_loop& loop) {
    const std::size_t self = loop.member() == 0 ? 0 : 1;
    const int from = loop.crew().fd(self == 0 ? 2 : 0);
    const int to = loop.crew().fd(self == 0 ? 1 : 3);
    auto& mine = loop.crew().word(self);
    auto& others = loop.crew().word(1 - self);
    char byte = 0;
    while (loop.goes_on()) {
        if (mine.value.load(std::memory_order_relaxed) == 1) {
            others.since_ns.store(work_loop::now(), std::memory_order_release);
            if (::write(to, &byte, 1) != 1)
                continue;
            mine.value.store(0, std::memory_order_relaxed);
        }
        if (::read(from, &byte, 1) != 1)
            continue;
        loop.woken(mine.since_ns.load(std::memory_order_acquire));
        mine.value.store(1, std::memory_order_relaxed);
        work_loop::spin(work.spins);
        loop.count();
    }
}

}  // namespace ktstr::guest
