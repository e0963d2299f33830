// SPDX-License-Identifier: MIT
// The loop both sides time to learn how much slower the guest's CPU is than the host's. It must be
// the same work on both sides, which is why it lives where they meet. Integer work with a data
// dependency: neither the compiler nor the emulator can skip it.
#pragma once

#include <cstdint>

namespace ktstr::wire {

/// About 0.1 ms on a current CPU, 1 to 3 ms in emulation.
inline constexpr std::uint32_t calibration_rounds = 100'000;

[[nodiscard]] inline std::uint64_t calibration_loop(std::uint64_t x) {
    for (std::uint32_t i = 0; i < calibration_rounds; ++i) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

}  // namespace ktstr::wire
