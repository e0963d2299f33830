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
    KIND(spin_wait) KIND(yield_heavy) KIND(mixed) KIND(bursty) KIND(pipe_io) KIND(custom)
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

    /// How many workers its kinds need together: a multiple of it is fine.
    [[nodiscard]] int members() const {
        int all = phases.empty() ? kind.members() : 1;
        for (const work_phase& phase : phases) {
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
