// SPDX-License-Identifier: MIT
// What workers do: one small struct for each kind of work, its parameters as members. Data only; a new kind is one
// line of the list and one struct here, one rule in mistakes.hpp and one file in guest/work/types/.
// docs/reference.md has them as a table, made of this file.
#pragma once

#include <ktstr/base/duration.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ktstr {

// clang-format off
/// Every kind of work. Their order is nobody's business.
#define KTSTR_DETAIL_WORK_KINDS(KIND) \
    KIND(spin_wait) KIND(yield_heavy) KIND(mixed) KIND(bursty) KIND(pipe_io) KIND(futex_ping_pong) \
    KIND(futex_fan_out) KIND(thundering_herd) KIND(wake_chain) KIND(mutex_contention) KIND(barrier) \
    KIND(fork_exit) KIND(compile_tree) KIND(nice_sweep) KIND(affinity_churn) KIND(policy_churn) \
    KIND(signal_storm) KIND(page_fault_churn) KIND(idle_churn) KIND(timer_latency) \
    KIND(deadline_frames) KIND(unix_socket) KIND(preempt_storm) KIND(stop_the_world) KIND(epoll_storm) KIND(priority_inversion) KIND(io_uring) KIND(custom)
// clang-format on

#define KTSTR_DETAIL_ENUMERATOR(name) name,
enum class work_id : std::uint16_t { KTSTR_DETAIL_WORK_KINDS(KTSTR_DETAIL_ENUMERATOR) };
#undef KTSTR_DETAIL_ENUMERATOR

/// Parameters are integers, durations and plain pointers, so that two kinds can be compared by their bytes.
namespace work {

/// What a custom kind of work sees of the harness. Only in its worker's process.
class worker {
public:
    explicit worker(void* loop, const void* data) : loop_(loop), data_(data) {}

    /// Whether to do one more turn. A call that blocks is interrupted (EINTR) when it becomes false.
    [[nodiscard]] bool goes_on() const;
    /// One turn of the work is done.
    void count();
    /// It ran again so long after it was to.
    void wake_latency(std::chrono::nanoseconds late);
    /// There was a deadline: was it met?
    void deadline(bool met);
    /// Which worker of its work group, from 0.
    [[nodiscard]] int index() const;
    template <class T>
    [[nodiscard]] const T& data() const {
        return *static_cast<const T*>(data_);
    }

private:
    void* loop_;
    const void* data_;
};

/// Burns CPU without system calls: `spins` turns of an empty loop make one iteration.
struct spin_wait {
    static constexpr auto id = work_id::spin_wait;
    int spins = 1024;
};

/// Gives the CPU away in every iteration: one sched_yield().
struct yield_heavy {
    static constexpr auto id = work_id::yield_heavy;
};

/// Spins, then yields.
struct mixed {
    static constexpr auto id = work_id::mixed;
    int spins = 1024;
};

/// Spins for a time, then sleeps for a time. Wake-up latency: how late the sleep ended.
struct bursty {
    static constexpr auto id = work_id::bursty;
    std::chrono::nanoseconds burst = std::chrono::milliseconds{50};
    std::chrono::nanoseconds sleep = std::chrono::milliseconds{100};
};

/// Two workers pass one byte back and forth through pipes and spin in between: wake-ups with WF_SYNC. Wake-up latency:
/// from before the write until the read has returned.
struct pipe_io {
    static constexpr auto id = work_id::pipe_io;
    static constexpr int members() { return 2; }
    int spins = 1024;
};

/// Two workers wake each other through a futex and spin in between: wake-ups without WF_SYNC. Wake-up latency: from before the
/// waker's call.
struct futex_ping_pong {
    static constexpr auto id = work_id::futex_ping_pong;
    static constexpr int members() { return 2; }
    int spins = 1024;
};

/// One worker wakes `fan_out` receivers with one call, spins, and does it again when all have answered. Wake-up latency: of the
/// receivers.
struct futex_fan_out {
    static constexpr auto id = work_id::futex_fan_out;
    [[nodiscard]] constexpr int members() const { return fan_out + 1; }
    int fan_out = 4;
    int spins = 1024;
};

/// One worker wakes `waiters` sleeping ones with one call, and sleeps for `gap` when all have run. Wake-up latency: of the
/// waiters.
struct thundering_herd {
    static constexpr auto id = work_id::thundering_herd;
    [[nodiscard]] constexpr int members() const { return static_cast<int>(waiters) + 1; }
    std::int64_t waiters = 7;
    std::chrono::nanoseconds gap = std::chrono::milliseconds{5};
};

enum class wake_path : int { pipe, futex };

/// A token goes around a ring of `depth` workers, each of which works on it for a time and wakes the next: through a pipe
/// (WF_SYNC) or through a futex. Wake-up latency: of each hop.
struct wake_chain {
    static constexpr auto id = work_id::wake_chain;
    [[nodiscard]] constexpr int members() const { return depth; }
    int depth = 4;
    wake_path by = wake_path::pipe;
    std::chrono::nanoseconds work = std::chrono::microseconds{100};
};

/// Workers spin for a while holding one futex lock, and for a while without it; who finds it held sleeps. Wake-up latency: from
/// the unlock.
struct mutex_contention {
    static constexpr auto id = work_id::mutex_contention;
    [[nodiscard]] constexpr int members() const { return contenders; }
    int contenders = 4;
    int hold_spins = 256;
    int work_spins = 1024;
};

/// Workers spin and then wait for the last of them, which wakes all. Wake-up latency: of those that waited.
struct barrier {
    static constexpr auto id = work_id::barrier;
    [[nodiscard]] constexpr int members() const { return parties; }
    int parties = 4;
    int spins = 1024;
};

/// Forks a child that ends at once, and waits for it. What the child runs is in the cgroup's cpu.stat, not in the worker's CPU
/// time.
struct fork_exit {
    static constexpr auto id = work_id::fork_exit;
};

/// Forks `jobs` children at once, as make -j does; each forks a child of its own that runs for `work` of CPU time. What they run
/// is in the cgroup's cpu.stat, not in the worker's CPU time.
struct compile_tree {
    static constexpr auto id = work_id::compile_tree;
    std::int64_t jobs = 4;
    std::chrono::nanoseconds work = std::chrono::milliseconds{5};
};

/// Gives itself the next nice value in every turn, -20 to 19 and around; where it may not go lower, from 0 to 19, and there it stays.
struct nice_sweep {
    static constexpr auto id = work_id::nice_sweep;
    int spins = 1024;
};

/// Binds itself to the next of its CPUs in every turn: migrations by the stopper thread. Does nothing on one CPU.
struct affinity_churn {
    static constexpr auto id = work_id::affinity_churn;
    int spins = 1024;
};

/// Gives itself another policy in every turn: SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR, SCHED_OTHER; without the right to
/// real-time priorities it keeps the one before in their turns.
struct policy_churn {
    static constexpr auto id = work_id::policy_churn;
    int spins = 1024;
};

/// Two workers send each other `signals` signals in every turn.
struct signal_storm {
    static constexpr auto id = work_id::signal_storm;
    static constexpr int members() { return 2; }
    int signals = 16;
    int spins = 1024;
};

/// Touches `touches` pages of a mapping of `kib` KiB and gives them back: as many page faults in every turn.
struct page_fault_churn {
    static constexpr auto id = work_id::page_fault_churn;
    int kib = 4096;
    int touches = 256;
    int spins = 64;
};

/// Short bursts and short sleeps: timers, and CPUs that go idle and wake up. Wake-up latency: how late the sleep ended.
struct idle_churn {
    static constexpr auto id = work_id::idle_churn;
    std::chrono::nanoseconds burst = std::chrono::milliseconds{1};
    std::chrono::nanoseconds sleep = std::chrono::milliseconds{5};
};

/// Sleeps until absolute times, `interval` apart, without timer slack. Wake-up latency: how late it was; a deadline is missed
/// when it was an interval or more.
struct timer_latency {
    static constexpr auto id = work_id::timer_latency;
    std::chrono::nanoseconds interval = std::chrono::milliseconds{1};
};

/// Work with a frame rate, as sound, video and games have it: `budget` of CPU time in every `period`. A deadline is missed when
/// the period was over first, and for each frame that could not begin. Wake-up latency: how late a frame began.
struct deadline_frames {
    static constexpr auto id = work_id::deadline_frames;
    std::chrono::nanoseconds period = std::chrono::milliseconds{16};
    std::chrono::nanoseconds budget = std::chrono::milliseconds{4};
};

/// Two workers pass a message of `bytes` bytes back and forth through a pair of Unix sockets. Wake-up latency: from before the
/// send until the receive has returned.
struct unix_socket {
    static constexpr auto id = work_id::unix_socket;
    static constexpr int members() { return 2; }
    int bytes = 64;
};

/// One worker with SCHED_FIFO wakes up every `interval` among `spinners` that spin. Wake-up latency: of the real-time worker.
struct preempt_storm {
    static constexpr auto id = work_id::preempt_storm;
    [[nodiscard]] constexpr int members() const { return spinners + 1; }
    int spinners = 2;
    int spins = 1024;
    std::chrono::nanoseconds interval = std::chrono::milliseconds{1};
};

/// One worker stops `mutators` others every so often, waits until all stand still, works alone for `pause` and wakes them: a
/// garbage collector. Wake-up latency: of the mutators.
struct stop_the_world {
    static constexpr auto id = work_id::stop_the_world;
    [[nodiscard]] constexpr int members() const { return mutators + 1; }
    int mutators = 3;
    int spins = 1024;
    std::chrono::nanoseconds every = std::chrono::milliseconds{50};
    std::chrono::nanoseconds pause = std::chrono::milliseconds{5};
};

/// One worker makes `events` events at once for `consumers` that wait in epoll with EPOLLEXCLUSIVE, and again when all are
/// taken. Their turns are events. Wake-up latency: from the events to a consumer's first one.
struct epoll_storm {
    static constexpr auto id = work_id::epoll_storm;
    [[nodiscard]] constexpr int members() const { return consumers + 1; }
    int consumers = 2;
    int events = 32;
};

enum class lock_kind : int { plain, pi };

/// Three workers on one CPU: a high one (SCHED_FIFO) wants a lock every millisecond which a low one (SCHED_OTHER) holds again and
/// again, and a medium one (SCHED_FIFO) has nothing to do with it but CPU time to use. Wake-up latency: of the high one, from its wish for
/// the lock until it has it. With `lock_kind::pi` the low one inherits its priority.
struct priority_inversion {
    static constexpr auto id = work_id::priority_inversion;
    static constexpr int members() { return 3; }
    int hold_spins = 4096;
    int work_spins = 1024;
    lock_kind lock = lock_kind::plain;
};

/// Hands `requests` requests to the kernel's worker threads of this process (IOSQE_ASYNC) and waits for all: threads that io_uring makes,
/// wakes and lets sleep.
struct io_uring {
    static constexpr auto id = work_id::io_uring;
    int requests = 8;
};

/// The test's own work: a function, and whatever it likes to know. It runs in a process forked from the body's, so the
/// pointer may be to anything that the body has.
struct custom {
    static constexpr auto id = work_id::custom;
    void (*run)(worker&) = nullptr;  ///< works until worker::goes_on() says no
    const void* data = nullptr;      ///< for worker::data()
};

}  // namespace work

using work::spin_wait;

/// One kind of work with its parameters, as a value.
class work_kind {
public:
    constexpr work_kind() : work_kind(work::spin_wait{}) {}
    template <class Kind>
    requires std::is_same_v<decltype(Kind::id), const work_id>
    constexpr work_kind(const Kind& kind) : id_(Kind::id) {
        if constexpr (!std::is_empty_v<Kind>) {
            static_assert(
                sizeof(Kind) <= sizeof parameters_ && __has_unique_object_representations(Kind),
                "a kind of work has at most 64 bytes of parameters, without gaps");
            if (__builtin_is_constant_evaluated()) {
                struct raw {
                    unsigned char bytes[sizeof(Kind)];
                };
                const auto from = __builtin_bit_cast(raw, kind);
                for (unsigned i = 0; i < sizeof(Kind); ++i)
                    parameters_[i] = from.bytes[i];
            } else {
                __builtin_memcpy(parameters_, &kind, sizeof(Kind));
            }
        }
        if constexpr (requires { kind.members(); })
            members_ = kind.members();
    }

    [[nodiscard]] constexpr work_id id() const { return id_; }
    /// How many workers do it together: a work group has that many, or several times as many.
    [[nodiscard]] constexpr int members() const { return members_; }
    /// The parameters. Only of the kind that it is.
    template <class Kind>
    [[nodiscard]] Kind as() const {
        Kind kind{};
        if constexpr (!std::is_empty_v<Kind>)
            __builtin_memcpy(&kind, parameters_, sizeof kind);
        return kind;
    }

    friend constexpr bool operator==(const work_kind& a, const work_kind& b) {
        for (unsigned i = 0; i < sizeof a.parameters_; ++i)
            if (a.parameters_[i] != b.parameters_[i])
                return false;
        return a.id_ == b.id_;
    }

private:
    alignas(8) unsigned char parameters_[64] = {};
    int members_ = 1;
    work_id id_;
};

/// The kind's name, as it is written.
[[nodiscard]] constexpr std::string_view to_text(work_id id) {
#define KTSTR_DETAIL_NAME(name) #name,
    constexpr std::string_view names[] = {KTSTR_DETAIL_WORK_KINDS(KTSTR_DETAIL_NAME)};
#undef KTSTR_DETAIL_NAME
    return names[static_cast<unsigned>(id)];
}

/// One kind of work for a time, of work that changes.
struct work_phase {
    work_kind kind{};
    std::chrono::nanoseconds lasts{};

    friend bool operator==(const work_phase&, const work_phase&) = default;
};

namespace work {

/// Kinds of work one after another, each for its time, from the start again after the last:
/// `.work(work::sequence{{{work::spin_wait{}, 50ms}, {work::bursty{}, 200ms}}})`.
struct sequence {
    std::vector<work_phase> phases{};
};

}  // namespace work

/// One group of workers that all do the same thing in the same way.
struct work_spec {
    work_kind kind{};                  ///< what they do when there are no phases
    std::optional<int> workers{};      ///< unset: what the cgroup says
    std::vector<work_phase> phases{};  ///< empty: one kind all the time

    /// How many workers its kinds need together: a multiple of it is fine. Asked before anybody looks for mistakes; of what is one,
    /// it is any number.
    [[nodiscard]] int members() const {
        constexpr int most = 10'000;
        int all = phases.empty() ? kind.members() : 1;
        for (const work_phase& phase : phases) {
            if (phase.kind.members() < 1 || phase.kind.members() > most || all > most)
                return all;
            int together = all;
            while (together % phase.kind.members() != 0)
                together += all;
            all = together;
        }
        return all;
    }

    friend bool operator==(const work_spec&, const work_spec&) = default;
};

}  // namespace ktstr
