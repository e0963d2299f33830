// SPDX-License-Identifier: MIT
// The rate of this host's time-stamp counter. An emulated guest reads the same counter, but learns
// its rate by timing it against an emulated timer, and on a busy host it learns wrong: its clock
// then ran 1.3 times too fast here. Measured once on the host and put on the guest's command line
// (tsc_early_khz). Host side.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace ktstr::host {

/// kHz, over 20 ms against the monotonic clock; good to about 1 in 100,000. Nothing where there is no such
/// counter.
[[nodiscard]] inline std::optional<std::uint64_t> measure_tsc_khz() {
#if defined(__x86_64__)
    struct sample {
        std::uint64_t ticks;
        std::chrono::steady_clock::time_point time;
    };
    // The builtin, because the header of its name declares every vector instruction as well.
    // The tightest of several readings: an interruption between the two clocks would be an error.
    const auto take = [] {
        sample best{};
        std::uint64_t narrowest = ~std::uint64_t{0};
        for (int i = 0; i < 32; ++i) {
            const auto before = __builtin_ia32_rdtsc();
            const auto time = std::chrono::steady_clock::now();
            const auto after = __builtin_ia32_rdtsc();
            if (after - before < narrowest) {
                narrowest = after - before;
                best = {before + (after - before) / 2, time};
            }
        }
        return best;
    };
    const auto first = take();
    while (std::chrono::steady_clock::now() - first.time < std::chrono::milliseconds(20)) {
    }
    const auto second = take();
    const auto ns =
        std::chrono::duration_cast<std::chrono::nanoseconds>(second.time - first.time).count();
    if (ns <= 0 || second.ticks <= first.ticks)
        return std::nullopt;
    return (second.ticks - first.ticks) * 1'000'000U / static_cast<std::uint64_t>(ns);
#else
    return std::nullopt;
#endif
}

/// What a guest that boots under emulation is told. Measured at the first question, because it takes 20 ms
/// and a clone does not ask.
[[nodiscard]] inline std::optional<std::uint64_t> host_tsc_khz() {
    static const auto measured = measure_tsc_khz();
    return measured;
}

}  // namespace ktstr::host
