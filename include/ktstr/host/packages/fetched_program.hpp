// SPDX-License-Identifier: MIT
// A program of a package that was fetched into the cache, and the lock that keeps the package there
// while the program is used. Fetches nothing itself. Host side.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/packages/version.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <unistd.h>

namespace ktstr::host {

struct fetched_program {
    std::filesystem::path path;  ///< empty: there is none
    std::shared_ptr<unique_fd> in_use = {};
};

/// The program at `place` ("usr/bin/...") in the newest version of a package that has it.
[[nodiscard]] inline fetched_program find_fetched(const std::filesystem::path& cache_root,
                                                  std::string_view package,
                                                  const std::filesystem::path& place) {
    const cache in(cache_root);
    const std::string kind = "packages/" + std::string(package);
    std::string newest;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(in.root() / kind, failed), end;
         !failed && at != end; at.increment(failed)) {
        std::string version = at->path().filename().string();
        if (::access((at->path() / "root" / place).c_str(), X_OK) == 0 &&
            (newest.empty() || newer(version, newest)))
            newest = std::move(version);
    }
    if (newest.empty())
        return {};
    return {in.entry_path(kind, newest) / "root" / place, in.use(kind, newest)};
}

}  // namespace ktstr::host
