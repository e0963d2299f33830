// SPDX-License-Identifier: MIT
// How long each stage of a guest may take beside the body's own limit, on a guest as fast as the host: what
// host/attempt holds it to, and what --list says of the whole. Host side.
#pragma once

#include <chrono>

namespace ktstr::host {

struct stage_limits {
    using milliseconds = std::chrono::milliseconds;

    /// To the body, or to the attach of a scheduler, which gets the body's limit besides.
    static constexpr milliseconds attaching{30'000};
    [[nodiscard]] static constexpr milliseconds preparing(int cpus) {
        return milliseconds(30'000) + milliseconds(100) * cpus;
    }
    /// Behind the body's limit. The kernel may take ten seconds to say why it ended a scheduler.
    [[nodiscard]] static constexpr milliseconds behind_body(bool has_scheduler) {
        return milliseconds(has_scheduler ? 15'000 : 5'000);
    }
    static constexpr milliseconds collecting{10'000};
};

}  // namespace ktstr::host
