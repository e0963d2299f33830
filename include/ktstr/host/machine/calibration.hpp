// SPDX-License-Identifier: MIT
// How fast this host computes, once for a run; a guest's own time for the same loop divided by it is
// the guest's dilation. Host side.
#pragma once

#include <ktstr/wire/calibration.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace ktstr::host {

/// The best of seven runs of the calibration loop, ns. The best, not the mean: what a neighbour took
/// is not the host's speed.
[[nodiscard]] inline std::uint64_t calibrate_host() {
    std::uint64_t best = ~std::uint64_t{0};
    volatile std::uint64_t sink = 88172645463325252U;
    for (int i = 0; i < 7; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        sink = wire::calibration_loop(sink);
        const auto took = std::chrono::steady_clock::now() - begin;
        best =
            std::min(best, static_cast<std::uint64_t>(
                               std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()));
    }
    return std::max<std::uint64_t>(best, 1);
}

using wire::dilation_of;

}  // namespace ktstr::host
