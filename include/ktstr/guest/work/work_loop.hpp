// SPDX-License-Identifier: MIT
// What a kind of work sees of the harness: whether to go on, where to count, and those that it works together with. Guest
// side, in the worker's own process.
#pragma once

#include <ktstr/guest/work/crew.hpp>
#include <ktstr/guest/work/worker_board.hpp>
#include <ktstr/linux/clock.hpp>

#include <atomic>
#include <cstdint>

#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace ktstr::guest {

namespace detail {

/// Set by the signal that ends a phase. One worker is one process.
inline std::atomic<std::uint32_t>& phase_is_over() {
    static std::atomic<std::uint32_t> over{0};
    return over;
}

}  // namespace detail

/// Each kind of work is a function `void run(const kind&, work_loop&)` of this shape:
///     while (loop.goes_on()) { one piece of work; loop.count(); }
/// A kind that blocks must wait in calls that a signal interrupts: once goes_on() has become false signals come, again and
/// again, whose handlers do nothing else.
class work_loop {
public:
    work_loop(phase_slot& slot, const worker_gate& gate, const guest::crew* crew = nullptr,
              int member = 0, int index = 0)
        : slot_(slot),
          stop_(gate.stop),
          over_(detail::phase_is_over()),
          crew_(crew),
          member_(member),
          index_(index),
          began_(now()),
          turn_began_(began_) {}

    [[nodiscard]] bool goes_on() const {
        return (stop_.load(std::memory_order_relaxed) | over_.load(std::memory_order_relaxed)) == 0;
    }

    /// One iteration is done.
    void count() {
        slot_.iterations.add(1);
        const auto at = now();
        slot_.iteration_time.record(at - turn_began_);
        turn_began_ = at;
        const int cpu = ::sched_getcpu();
        if (cpu == last_cpu_ || cpu < 0)
            return;
        last_cpu_ = cpu;
        const auto word = static_cast<std::size_t>(cpu) / 64;
        if (word < phase_slot::cpu_words)
            slot_.cpus[word].set(slot_.cpus[word].get() | std::uint64_t{1} << (cpu % 64));
    }

    /// It runs again, and was to at `due`. What was due before this visit of the phase is no wake-up.
    void woken(std::uint64_t due) {
        if (due < began_)
            return;
        const auto at = now();
        slot_.wake_latency.record(at > due ? at - due : 0);
    }
    void wake_latency(std::uint64_t ns) { slot_.wake_latency.record(ns); }
    void deadline(bool met) {
        slot_.deadlines.add(1);
        if (!met)
            slot_.missed_deadlines.add(1);
    }

    [[nodiscard]] static std::uint64_t now() { return now_ns(CLOCK_MONOTONIC); }
    /// No PAUSE in here. Hardware takes many of them in a row for a lock whose holder is not running, leaves the guest and
    /// gives the CPU away: with more vCPUs than CPUs that is a yield, not a spin. Emulators leave their fast path for it.
    static void spin(int turns) {
        for (int i = 0; i < turns; ++i)
            asm volatile("");
    }
    void spin_until(std::uint64_t ns) const {
        while (goes_on() && now() < ns)
            spin(64);
    }
    /// Sleeps until then and records how late that was. Nothing is recorded when a signal came first.
    void sleep_until(std::uint64_t ns) {
        const auto end = to_timespec(ns);
        if (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == 0)
            woken(ns);
    }

    /// Waits until the word is no longer `value`. False: this work is over.
    [[nodiscard]] bool wait_while(const crew_word& word, std::uint32_t value) const {
        while (word.value.load(std::memory_order_acquire) == value) {
            if (!goes_on())
                return false;
            futex_wait_once(word.value, value);
        }
        return true;
    }

    [[nodiscard]] const guest::crew& crew() const { return *crew_; }
    /// Which of its crew, from 0.
    [[nodiscard]] int member() const { return member_; }
    /// Which of its work group, from 0.
    [[nodiscard]] int index() const { return index_; }

private:
    phase_slot& slot_;
    const std::atomic<std::uint32_t>& stop_;
    const std::atomic<std::uint32_t>& over_;
    const guest::crew* crew_;
    int member_;
    int index_;
    int last_cpu_ = -1;
    std::uint64_t began_;
    std::uint64_t turn_began_;
};

}  // namespace ktstr::guest
