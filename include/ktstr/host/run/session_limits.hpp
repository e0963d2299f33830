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
    const std::chrono::milliseconds limit =
        accel == accelerator::kvm ? 60s + vcpus * 500ms : 120s + vcpus * 5000ms;
    // Inside an emulated machine everything is slower.
    return limit * static_cast<int>(std::clamp(slowdown, 1.0, 3.0));
}

}  // namespace ktstr::host
