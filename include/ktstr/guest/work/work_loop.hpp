// SPDX-License-Identifier: MIT
// What a kind of work sees of the harness: whether to go on, and where to count. Guest side, in
// the worker's own process.
#pragma once

#include <ktstr/guest/work/worker_board.hpp>

#include <atomic>
#include <cstdint>

namespace ktstr::guest {

/// Each kind of work is a function `void run(const kind&, work_loop&)` of this shape:
///     while (loop.goes_on()) { one piece of work; loop.count(); }
/// A kind that blocks must wait in calls that a signal interrupts: the worker gets SIGUSR1, whose
/// handler does nothing, right after goes_on() has become false.
class work_loop {
public:
    work_loop(worker_slot& slot, const worker_gate& gate) : slot_(slot), gate_(gate) {}

    [[nodiscard]] bool goes_on() const { return gate_.stop.load(std::memory_order_relaxed) == 0; }

    /// One iteration is done. A plain store: nobody else writes here.
    void count() { slot_.iterations.store(++iterations_, std::memory_order_relaxed); }

private:
    worker_slot& slot_;
    const worker_gate& gate_;
    std::uint64_t iterations_ = 0;
};

}  // namespace ktstr::guest
