// SPDX-License-Identifier: MIT
// The work kind page_fault_churn: pages are touched, given back, and touched again.
#pragma once

#include <ktstr/guest/work/children.hpp>
#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <sys/mman.h>
#include <unistd.h>

namespace ktstr::guest {

inline void run(const work::page_fault_churn& work, work_loop& loop) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto bytes = static_cast<std::size_t>(work.kib) * 1024 / page * page;
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw_system_error("map memory for");
    // One fault for each page that is touched, not one for two megabytes.
    ::madvise(memory, bytes, MADV_NOHUGEPAGE);
    std::size_t at = 0;
    while (loop.goes_on()) {
        for (int i = 0; i < work.touches; ++i) {
            static_cast<volatile char*>(memory)[at] = 1;
            at = (at + page) % bytes;
        }
        ::madvise(memory, bytes, MADV_DONTNEED);
        work_loop::spin(work.spins);
        loop.count();
    }
    ::munmap(memory, bytes);
}

}  // namespace ktstr::guest
