// SPDX-License-Identifier: MIT
// The work kind io_uring: requests that the kernel's own worker threads of this process carry out.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <linux/io_uring.h>
#include <sys/mman.h>

namespace ktstr::guest {

namespace detail {

/// Both rings of one io_uring, by the kernel's own interface: no library.
class uring {
public:
    explicit uring(unsigned entries) {
        io_uring_params p{};
        fd_.reset(static_cast<int>(::syscall(SYS_io_uring_setup, entries, &p)));
        if (!fd_)
            throw_system_error("make an io_uring for");
        if ((p.features & IORING_FEAT_SINGLE_MMAP) == 0)
            throw std::runtime_error("this kernel's io_uring is older than 5.4");
        const auto sq = p.sq_off.array + p.sq_entries * sizeof(unsigned);
        const auto cq = p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe);
        ring_bytes_ = sq > cq ? sq : cq;
        ring_ = map(ring_bytes_, IORING_OFF_SQ_RING);
        requests_bytes_ = p.sq_entries * sizeof(io_uring_sqe);
        requests_ = reinterpret_cast<io_uring_sqe*>(map(requests_bytes_, IORING_OFF_SQES));
        sq_tail_ = word(p.sq_off.tail);
        sq_mask_ = *word(p.sq_off.ring_mask);
        sq_array_ = word(p.sq_off.array);
        cq_head_ = word(p.cq_off.head);
        cq_tail_ = word(p.cq_off.tail);
    }

    uring(const uring&) = delete;
    uring& operator=(const uring&) = delete;
    ~uring() {
        ::munmap(ring_, ring_bytes_);
        ::munmap(requests_, requests_bytes_);
    }

    /// A request that does nothing, but not here: a worker thread of the kernel's does it.
    void add_nop() {
        const auto tail = *sq_tail_;
        auto& request = requests_[tail & sq_mask_];
        request = {};
        request.opcode = IORING_OP_NOP;
        request.flags = IOSQE_ASYNC;
        sq_array_[tail & sq_mask_] = tail & sq_mask_;
        __atomic_store_n(sq_tail_, tail + 1, __ATOMIC_RELEASE);
    }
    /// Hands over what was added and waits until `wanted` are done, or for a signal. How many were handed over.
    unsigned enter(unsigned added, unsigned wanted) const {
        const auto taken = ::syscall(SYS_io_uring_enter, fd_.get(), added, wanted,
                                     IORING_ENTER_GETEVENTS, nullptr, 0);
        return taken > 0 ? static_cast<unsigned>(taken) : 0;
    }
    /// Takes note of all that are done.
    [[nodiscard]] unsigned take_done() {
        const auto tail = __atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE);
        const auto done = tail - *cq_head_;
        __atomic_store_n(cq_head_, tail, __ATOMIC_RELEASE);
        return done;
    }

private:
    [[nodiscard]] std::byte* map(std::size_t bytes, off_t offset) const {
        void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_POPULATE, fd_.get(), offset);
        if (memory == MAP_FAILED)
            throw_system_error("map the io_uring of");
        return static_cast<std::byte*>(memory);
    }
    [[nodiscard]] unsigned* word(unsigned offset) const {
        return reinterpret_cast<unsigned*>(ring_ + offset);
    }

    unique_fd fd_;
    std::size_t ring_bytes_ = 0, requests_bytes_ = 0;
    std::byte* ring_ = nullptr;
    io_uring_sqe* requests_ = nullptr;
    unsigned* sq_tail_ = nullptr;
    unsigned* sq_array_ = nullptr;
    unsigned* cq_head_ = nullptr;
    unsigned* cq_tail_ = nullptr;
    unsigned sq_mask_ = 0;
};

}  // namespace detail

inline void run(const work::io_uring& work, work_loop& loop) {
    const auto requests = static_cast<unsigned>(work.requests);
    detail::uring ring(requests);
    unsigned added = 0, done = 0;
    while (loop.goes_on()) {
        for (unsigned i = 0; i < requests; ++i)
            ring.add_nop();
        added = requests;
        done = 0;
        // To the end, so that no visit leaves requests to the next one: they wait for nobody.
        while (done < requests) {
            added -= ring.enter(added, 1);
            done += ring.take_done();
        }
        loop.count();
    }
}

}  // namespace ktstr::guest
