// SPDX-License-Identifier: MIT
// How much memory machines can still get on this host: what the kernel calls available, which counts
// the page cache that it would give back. Free pages alone say little on a host that has read files.
// Host side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace ktstr::host {

[[nodiscard]] inline std::optional<std::uint64_t> available_memory_mib(
    const std::filesystem::path& meminfo = "/proc/meminfo") {
    std::ifstream in(meminfo);
    std::string key, unit;
    for (std::uint64_t kib = 0; in >> key >> kib;) {
        if (key == "MemAvailable:")
            return kib >> 10;
        std::getline(in, unit);
    }
    return std::nullopt;
}

}  // namespace ktstr::host
