// SPDX-License-Identifier: MIT
// The kernel's clocks in nanoseconds.
#pragma once

#include <cstdint>

#include <time.h>

namespace ktstr {

[[nodiscard]] inline std::uint64_t now_ns(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

[[nodiscard]] inline timespec to_timespec(std::uint64_t ns) {
    return {static_cast<time_t>(ns / 1'000'000'000U), static_cast<long>(ns % 1'000'000'000U)};
}

}  // namespace ktstr
