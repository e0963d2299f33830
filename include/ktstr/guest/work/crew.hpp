// SPDX-License-Identifier: MIT
// What the workers that do one piece of work together have in common: words in shared memory to wait on, and descriptors,
// made before they are forked. A kind of work that needs partners fills it in prepare(). Guest side.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/work/worker_board.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ktstr::guest {

/// A futex with a time beside it, on cache lines of its own.
struct alignas(apart) crew_word {
    std::atomic<std::uint32_t> value{0};
    std::atomic<std::uint64_t> since_ns{
        0};  ///< CLOCK_MONOTONIC: when whoever waits for it was to be woken
};

class crew {
public:
    static constexpr std::size_t words = 32;

    [[nodiscard]] static result<crew> make() {
        auto memory = shared_memory::make(words * sizeof(crew_word), "workers that work together");
        if (!memory)
            return memory.error();
        for (std::size_t i = 0; i < words; ++i)
            new (memory->at(i * sizeof(crew_word))) crew_word;
        return crew(*std::move(memory));
    }

    [[nodiscard]] crew_word& word(std::size_t i) const {
        return *reinterpret_cast<crew_word*>(memory_.at(i % words * sizeof(crew_word)));
    }
    /// The i-th descriptor in the order of keep().
    [[nodiscard]] int fd(std::size_t i) const { return fds_[i].get(); }
    void keep(int fd) { fds_.emplace_back(fd); }

    /// Two more descriptors: to read from, and to write to.
    [[nodiscard]] result<void> add_pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            return system_error("make a pipe for", "workers that work together",
                                errno == EMFILE ? "raise ulimit -n" : "");
        keep(ends[0]);
        keep(ends[1]);
        return {};
    }

private:
    explicit crew(shared_memory memory) : memory_(std::move(memory)) {}

    shared_memory memory_;
    std::vector<unique_fd> fds_;
};

/// Between processes, so no FUTEX_PRIVATE. Returns when the word is something else, when somebody wakes it, or at a signal.
inline void futex_wait_once(const std::atomic<std::uint32_t>& word, std::uint32_t while_it_is) {
    ::syscall(SYS_futex, &word, FUTEX_WAIT, while_it_is, nullptr, nullptr, 0);
}
/// How many were woken.
inline long futex_wake(const std::atomic<std::uint32_t>& word, int how_many) {
    return ::syscall(SYS_futex, &word, FUTEX_WAKE, how_many, nullptr, nullptr, 0);
}

}  // namespace ktstr::guest
