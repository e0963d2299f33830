// SPDX-License-Identifier: MIT
// How long the host waits for a machine that says nothing. Host side.
#pragma once

#include <ktstr/host/vm/accelerator.hpp>

#include <algorithm>
#include <chrono>

namespace ktstr::host {

/// Host-clock limits of the stages. Emulation boots 10 to 20 times slower, and each vCPU adds to it;
/// before the guest has said hello its dilation is unknown, so these are generous and only end what
/// would never end.
[[nodiscard]] inline std::chrono::milliseconds boot_limit(accelerator accel, int vcpus,
                                                          double slowdown) {
    using namespace std::chrono_literals;
    // KVM on an emulated host emulates too, and is slower by the host's own slowness.
    const bool emulated = accel == accelerator::tcg || slowdown > 1;
    const std::chrono::duration<double> limit =
        emulated ? 120s + vcpus * 5000ms : 60s + vcpus * 500ms;
    return std::chrono::ceil<std::chrono::milliseconds>(limit * std::clamp(slowdown, 1.0, 3.0));
}

}  // namespace ktstr::host
