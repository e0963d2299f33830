// SPDX-License-Identifier: MIT
// What files really take on their disk: the memory of a template is mostly holes, and holes cost
// nothing. Host side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include <sys/stat.h>

namespace ktstr::host {

/// Bytes on disk of a file, or of a directory and everything below it. A file with several names
/// counts once; what can't be looked at counts nothing.
[[nodiscard]] inline std::uint64_t disk_usage(const std::filesystem::path& top) {
    namespace fs = std::filesystem;
    std::set<std::pair<dev_t, ino_t>> linked;
    std::uint64_t bytes = 0;
    const auto add = [&](const fs::path& path) {
        struct ::stat facts {};
        if (::lstat(path.c_str(), &facts) != 0)
            return;
        if (!S_ISDIR(facts.st_mode) && facts.st_nlink > 1 &&
            !linked.emplace(facts.st_dev, facts.st_ino).second)
            return;
        bytes += static_cast<std::uint64_t>(facts.st_blocks) * 512;
    };
    add(top);
    std::error_code failed;
    for (fs::recursive_directory_iterator
             at(top, fs::directory_options::skip_permission_denied, failed),
         end;
         !failed && at != end; at.increment(failed))
        add(at->path());
    return bytes;
}

}  // namespace ktstr::host
