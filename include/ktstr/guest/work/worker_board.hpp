// SPDX-License-Identifier: MIT
// The memory that workers share with the process that started them: a slot each, with a part for each phase of their
// work, and the gate they wait at. It outlives a worker that crashes, so its counts are not lost with it, and it can be
// read at any time while they run. Guest side.
#pragma once

#include <ktstr/base/histogram.hpp>
#include <ktstr/base/result.hpp>
#include <ktstr/guest/work/kernel_account.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <sys/mman.h>

namespace ktstr::guest {

/// Two cache lines: the prefetcher of current CPUs fetches lines in pairs, and counters of
/// different workers in one pair would have them slow each other down.
inline constexpr std::size_t apart = 128;

/// A number that one process writes and another may read at any time.
class told_number {
public:
    [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }
    void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
    // A plain store: nobody else writes here.
    void add(std::uint64_t more) { set(get() + more); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// A histogram of this kind.
class told_histogram {
public:
    void record(std::uint64_t ns) {
        if (const auto least = least_.get(); least == 0 || ns + 1 < least)
            least_.set(ns + 1);
        if (ns > most_.get())
            most_.set(ns);
        sum_.add(ns);
        counts_[histogram::bucket_of(ns)].add(1);
    }
    [[nodiscard]] histogram get() const {
        histogram all;
        auto sum = sum_.get();
        for (std::size_t i = 0; i < histogram::buckets; ++i)
            if (const auto count = counts_[i].get(); count != 0) {
                all.add(i, count, least_.get() - 1, most_.get(), sum);
                sum = 0;
            }
        return all;
    }

private:
    told_number least_{}, most_{}, sum_{};  // least: plus 1, so that 0 is none yet
    told_number counts_[histogram::buckets]{};
};

/// What a worker tells of one phase of its work. What the kernel has counted is added when it leaves the phase for
/// another; of the last one nobody tells it, and who started the worker asks the kernel.
struct phase_slot {
    static constexpr std::size_t cpu_words = 8;

    told_number iterations{}, deadlines{}, missed_deadlines{};
    told_number wall_ns{}, cpu_ns{}, run_delay_ns{}, migrations{}, voluntary{}, involuntary{};
    told_number cpus[cpu_words]{};
    told_histogram iteration_time{}, wake_latency{};
};

enum class worker_phase : std::uint32_t { forked, ready, running, finished };

/// What one worker tells about itself. Written by the worker alone, and by who started it before the gate opens.
struct alignas(apart) worker_slot {
    std::atomic<std::uint64_t> finished_ns{0};  ///< CLOCK_MONOTONIC
    std::atomic<worker_phase> phase{worker_phase::forked};
    char failure[84] = {};  ///< why it gave up, in words; written before its exit
    // Where its current phase began, for whoever has to finish its account.
    told_number at_phase{}, since_ns{};
    told_number cpu_ns{}, run_delay_ns{}, migrations{}, voluntary{}, involuntary{};
    told_number known_schedstat{}, known_sched{};

    void set_failure(std::string_view text) {
        const auto size = text.size() < sizeof failure - 1 ? text.size() : sizeof failure - 1;
        std::memcpy(failure, text.data(), size);
        failure[size] = '\0';
    }

    /// A phase begins here.
    void begin(std::size_t index, std::uint64_t now, const kernel_account& kernel) {
        at_phase.set(index);
        since_ns.set(now);
        cpu_ns.set(kernel.cpu_ns);
        run_delay_ns.set(kernel.run_delay_ns);
        migrations.set(kernel.migrations);
        voluntary.set(kernel.voluntary);
        involuntary.set(kernel.involuntary);
        known_schedstat.set(kernel.known_schedstat ? 1 : 0);
        known_sched.set(kernel.known_sched ? 1 : 0);
    }
    /// What happened since then belongs to `phase`.
    void settle(phase_slot& to, std::uint64_t now, const kernel_account& kernel) const {
        const auto more = [](std::uint64_t later, const told_number& before) {
            return later > before.get() ? later - before.get() : 0;
        };
        to.wall_ns.add(more(now, since_ns));
        to.cpu_ns.add(more(kernel.cpu_ns, cpu_ns));
        to.run_delay_ns.add(more(kernel.run_delay_ns, run_delay_ns));
        to.migrations.add(more(kernel.migrations, migrations));
        to.voluntary.add(more(kernel.voluntary, voluntary));
        to.involuntary.add(more(kernel.involuntary, involuntary));
    }
};

/// Its words are futexes. Written by the starting process alone.
struct worker_gate {
    alignas(apart) std::atomic<std::uint32_t> open{0};
    std::atomic<std::uint64_t> released_ns{0};  ///< CLOCK_MONOTONIC; before it opens
    alignas(apart) std::atomic<std::uint32_t> stop{0};
    alignas(apart) std::atomic<std::uint32_t> leave{0};  ///< those that have finished wait for it
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "the slots are used by processes");
static_assert(std::atomic<worker_phase>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == 4);

/// Memory that this process shares with those that it forks.
class shared_memory {
public:
    [[nodiscard]] static result<shared_memory> make(std::size_t bytes,
                                                    const std::string& for_whom) {
        // Populated: a page fault in the middle of the work would be the harness's, not the work's.
        void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory == MAP_FAILED)
            return system_error("map memory for", for_whom);
        return shared_memory(memory, bytes);
    }
    shared_memory(shared_memory&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    shared_memory& operator=(shared_memory&&) = delete;
    ~shared_memory() {
        if (memory_ != nullptr)
            ::munmap(memory_, bytes_);
    }
    [[nodiscard]] std::byte* at(std::size_t offset) const {
        return static_cast<std::byte*>(memory_) + offset;
    }

private:
    shared_memory(void* memory, std::size_t bytes) : memory_(memory), bytes_(bytes) {}

    void* memory_;
    std::size_t bytes_;
};

class worker_board {
public:
    /// `phases`: room for so many, of all workers together; each has one at least.
    [[nodiscard]] static result<worker_board> make(std::size_t workers, std::size_t phases) {
        const auto bytes =
            sizeof(worker_gate) + workers * sizeof(worker_slot) + phases * sizeof(phase_slot);
        auto memory = shared_memory::make(bytes, std::to_string(workers) + " workers");
        if (!memory)
            return memory.error();
        worker_board board(*std::move(memory), workers, phases);
        new (board.memory_.at(0)) worker_gate;
        for (std::size_t i = 0; i < workers; ++i)
            new (&board.slot(i)) worker_slot;
        // The phases' parts are numbers, which fresh memory holds already: all zero.
        return board;
    }

    [[nodiscard]] worker_gate& gate() const {
        return *reinterpret_cast<worker_gate*>(memory_.at(0));
    }
    [[nodiscard]] worker_slot& slot(std::size_t i) const {
        return *reinterpret_cast<worker_slot*>(
            memory_.at(sizeof(worker_gate) + i * sizeof(worker_slot)));
    }
    /// The i-th of all phases; whose it is the team knows.
    [[nodiscard]] phase_slot& phase(std::size_t i) const {
        return *reinterpret_cast<phase_slot*>(memory_.at(
            sizeof(worker_gate) + workers_ * sizeof(worker_slot) + i * sizeof(phase_slot)));
    }
    [[nodiscard]] std::size_t size() const { return workers_; }
    [[nodiscard]] std::size_t phases() const { return phases_; }

private:
    worker_board(shared_memory memory, std::size_t workers, std::size_t phases)
        : memory_(std::move(memory)), workers_(workers), phases_(phases) {}

    shared_memory memory_;
    std::size_t workers_;
    std::size_t phases_;
};

}  // namespace ktstr::guest
