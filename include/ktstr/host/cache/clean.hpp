// SPDX-License-Identifier: MIT
// Deletes from the cache what somebody no longer wants, and nothing that is in use. Host side.
#pragma once

#include <ktstr/base/error.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/cache/survey.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace ktstr::host {

/// Exactly one of `all`, `damaged`, `unused` and `limit` is to be given; without any nothing goes.
struct clean_request {
    std::vector<std::string> kinds =
        {};  ///< none: every kind, but the fetched ones only with `all`
    bool all = false;
    bool damaged = false;
    std::optional<std::chrono::hours> unused = {};  ///< what nobody used for so long
    /// What was used longest ago goes until the cache (or the kinds named) takes no more bytes.
    std::optional<std::uint64_t> limit = {};
};

struct clean_result {
    std::vector<surveyed_entry> removed;
    std::vector<surveyed_entry> in_use;   ///< would have gone
    std::vector<surveyed_entry> fetched;  ///< would have gone if its kind had been named
    std::vector<error> failed;
    int leftovers = 0;       ///< directories of dead processes, which go in any case
    std::uint64_t left = 0;  ///< bytes that remain of what the request is about
};

/// What a network is needed for to have it again.
[[nodiscard]] inline bool is_fetched(std::string_view kind) {
    return kind == "kernels" || kind == "packages";
}

namespace detail {

/// Locks of entries that are gone. Nobody else holds one that is unlinked here, and whoever waits for
/// it takes a new one, see lock_file().
inline void remove_idle_locks(const cache& in) {
    std::set<std::filesystem::path> wanted;
    for (const auto& entry : survey(in))
        wanted.insert(in.lock_path(entry.kind, entry.key, "use"));
    std::error_code failed;
    for (std::filesystem::directory_iterator at(in.root() / "locks", failed), end;
         !failed && at != end; at.increment(failed)) {
        const auto& path = at->path();
        if (wanted.contains(path) || (path.extension() != ".use" && path.extension() != ".make"))
            continue;
        const unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
        if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 && is_same_file(file.get(), path))
            ::unlink(path.c_str());
    }
}

}  // namespace detail

/// `entries` as survey() told them; for `damaged` with a full check.
[[nodiscard]] inline clean_result clean_cache(const cache& in, std::vector<surveyed_entry> entries,
                                              const clean_request& request, std::int64_t now_ns) {
    clean_result done;
    done.leftovers = remove_stale_directories(in.temporary_parent());
    std::erase_if(entries, [](const surveyed_entry& entry) {
        return entry.kind == "tmp" && !entry.in_use;  // has just gone
    });
    const auto named = [&](const surveyed_entry& entry) {
        return std::find(request.kinds.begin(), request.kinds.end(), entry.kind) !=
               request.kinds.end();
    };
    if (!request.kinds.empty())
        std::erase_if(entries, [&](const surveyed_entry& entry) { return !named(entry); });
    std::stable_sort(entries.begin(), entries.end(),
                     [](const surveyed_entry& a, const surveyed_entry& b) {
                         return a.idle_since_ns() < b.idle_since_ns();
                     });
    for (const auto& entry : entries)
        done.left += entry.on_disk;
    const std::int64_t unused_ns =
        request.unused ? std::chrono::nanoseconds(*request.unused).count() : 0;
    for (auto& entry : entries) {
        const bool unwanted = request.all || (request.damaged && entry.damage) ||
                              (request.unused && entry.idle_since_ns() < now_ns - unused_ns) ||
                              (request.limit && done.left > *request.limit);
        if (!unwanted || entry.kind == "tmp")
            continue;
        if (is_fetched(entry.kind) && !request.all && !named(entry)) {
            done.fetched.push_back(std::move(entry));
            continue;
        }
        bool gone = !entry.in_use;
        if (gone && entry.kind == "qemu") {
            std::error_code failed;
            std::filesystem::remove(entry.path, failed);
            if (failed) {
                done.failed.push_back(cache_error("remove", entry.path, failed.value()));
                continue;
            }
        } else if (gone) {
            const auto removed = in.remove(entry.kind, entry.key);
            if (!removed) {
                done.failed.push_back(removed.error());
                continue;
            }
            gone = *removed;
        }
        if (gone)
            done.left -= entry.on_disk;
        (gone ? done.removed : done.in_use).push_back(std::move(entry));
    }
    detail::remove_idle_locks(in);
    return done;
}

}  // namespace ktstr::host
