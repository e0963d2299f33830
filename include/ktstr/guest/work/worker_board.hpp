// SPDX-License-Identifier: MIT
// The memory that workers share with the process that started them: a slot each, and the gate they
// wait at. It outlives a worker that crashes, so its count is not lost with it, and it can be read
// at any time while they run. Guest side.
#pragma once

#include <ktstr/base/result.hpp>

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

enum class worker_phase : std::uint32_t { forked, ready, running, finished };

/// What one worker tells about itself. Written by the worker alone.
struct alignas(apart) worker_slot {
    std::atomic<std::uint64_t> iterations{0};
    std::atomic<std::uint64_t> finished_ns{0};  ///< CLOCK_MONOTONIC
    std::atomic<std::uint64_t> cpu_ns{0};
    std::atomic<worker_phase> phase{worker_phase::forked};
    char failure[84] = {};  ///< why it gave up, in words; written before its exit

    void set_failure(std::string_view text) {
        const auto size = text.size() < sizeof failure - 1 ? text.size() : sizeof failure - 1;
        std::memcpy(failure, text.data(), size);
        failure[size] = '\0';
    }
};

/// Both words are futexes. Written by the starting process alone.
struct worker_gate {
    alignas(apart) std::atomic<std::uint32_t> open{0};
    alignas(apart) std::atomic<std::uint32_t> stop{0};
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "the slots are used by processes");
static_assert(std::atomic<worker_phase>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == 4);

class worker_board {
public:
    [[nodiscard]] static result<worker_board> make(std::size_t workers) {
        worker_board board;
        board.slots_ = workers;
        // Populated: a page fault in the middle of the work would be the harness's, not the work's.
        board.memory_ = ::mmap(nullptr, board.bytes(), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (board.memory_ == MAP_FAILED) {
            board.memory_ = nullptr;
            return system_error("map memory for", std::to_string(workers) + " workers");
        }
        new (board.memory_) worker_gate;
        for (std::size_t i = 0; i < workers; ++i)
            new (board.slot_address(i)) worker_slot;
        return board;
    }

    worker_board(worker_board&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), slots_(std::exchange(other.slots_, 0)) {}
    worker_board& operator=(worker_board&&) = delete;
    ~worker_board() {
        if (memory_ != nullptr)
            ::munmap(memory_, bytes());
    }

    [[nodiscard]] worker_gate& gate() const { return *static_cast<worker_gate*>(memory_); }
    [[nodiscard]] worker_slot& slot(std::size_t i) const {
        return *static_cast<worker_slot*>(slot_address(i));
    }
    [[nodiscard]] std::size_t size() const { return slots_; }

private:
    worker_board() = default;

    [[nodiscard]] std::size_t bytes() const {
        return sizeof(worker_gate) + slots_ * sizeof(worker_slot);
    }
    [[nodiscard]] void* slot_address(std::size_t i) const {
        return static_cast<std::byte*>(memory_) + sizeof(worker_gate) + i * sizeof(worker_slot);
    }

    void* memory_ = nullptr;
    std::size_t slots_ = 0;
};

}  // namespace ktstr::guest
