// SPDX-License-Identifier: MIT
// The work kind futex_fan_out: one worker wakes many at once, and the next time when all have answered.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

namespace ktstr::guest {

/// Words: 0 the round, 1 how many answers there were in all rounds, 2 and more what round each receiver knows.
inline void answer_rounds(std::uint32_t receivers, int spins, work_loop& loop) {
    auto& round = loop.crew().word(0);
    auto& answers = loop.crew().word(1);
    auto& known = loop.crew().word(1 + static_cast<std::size_t>(loop.member())).value;
    while (loop.goes_on()) {
        const auto last = known.load(std::memory_order_relaxed);
        if (!loop.wait_while(round, last))
            break;
        loop.woken(round.since_ns.load(std::memory_order_acquire));
        known.store(last + 1, std::memory_order_relaxed);
        work_loop::spin(spins);
        if (answers.value.fetch_add(1, std::memory_order_acq_rel) + 1 == (last + 1) * receivers)
            futex_wake(answers.value, 1);
        loop.count();
    }
}

/// Waits for all answers to the round before. False: this work is over.
[[nodiscard]] inline bool all_answered(std::uint32_t receivers, const work_loop& loop) {
    const auto due = loop.crew().word(0).value.load(std::memory_order_relaxed) * receivers;
    auto& answers = loop.crew().word(1);
    for (;;) {
        const auto now = answers.value.load(std::memory_order_acquire);
        if (now == due)
            return loop.goes_on();
        if (!loop.wait_while(answers, now))
            return false;
    }
}

inline void begin_round(std::uint32_t receivers, work_loop& loop) {
    auto& round = loop.crew().word(0);
    round.since_ns.store(work_loop::now(), std::memory_order_relaxed);
    round.value.fetch_add(1, std::memory_order_release);
    futex_wake(round.value, static_cast<int>(receivers));
    loop.count();
}

inline void run(const work::futex_fan_out& work, work_loop& loop) {
    const auto receivers = static_cast<std::uint32_t>(work.fan_out);
    if (loop.member() != 0)
        return answer_rounds(receivers, work.spins, loop);
    while (all_answered(receivers, loop)) {
        work_loop::spin(work.spins);
        begin_round(receivers, loop);
    }
}

}  // namespace ktstr::guest
