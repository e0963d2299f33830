// SPDX-License-Identifier: MIT
// The loop both sides time to learn how much slower the guest's CPU is than the host's. It must be
// the same work on both sides, which is why it lives where they meet. An emulator is nearly as fast
// as the CPU at plain arithmetic and slowest at memory and indirect calls, which is what a kernel
// and a test are made of; so is this.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ktstr::wire {

/// About 0.1 ms on a current CPU, 1 to 2 ms in emulation.
inline constexpr std::uint32_t calibration_rounds = 20'000;

namespace detail {

using calibration_table = std::array<std::uint64_t, 512>;
using calibration_step = std::uint64_t (*)(calibration_table&, std::uint64_t);

// Four different functions behind pointers that the compiler can't see through.
template <unsigned Shift>
[[gnu::noinline]] std::uint64_t calibration_visit(calibration_table& table, std::uint64_t x) {
    auto& slot = table[(x >> Shift) % table.size()];
    slot += x;
    return x ^ (slot >> 7);
}

}  // namespace detail

[[nodiscard]] inline std::uint64_t calibration_loop(std::uint64_t x) {
    static constinit detail::calibration_table table{};
    volatile detail::calibration_step steps[4] = {
        detail::calibration_visit<3>, detail::calibration_visit<11>, detail::calibration_visit<19>,
        detail::calibration_visit<27>};
    for (std::uint32_t i = 0; i < calibration_rounds; ++i) {
        x ^= x << 13;
        x = steps[i % 4](table, x);
    }
    return x;
}

}  // namespace ktstr::wire
