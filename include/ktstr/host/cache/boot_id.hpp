// SPDX-License-Identifier: MIT
// Which boot of this host it is: what was not written out to disk is to be believed in the same one only.
// Host side.
#pragma once

#include <fstream>
#include <string>

namespace ktstr::host {

/// Empty where /proc does not tell.
[[nodiscard]] inline std::string boot_id() {
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(in, id);
    return id;
}

}  // namespace ktstr::host
