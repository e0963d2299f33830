// SPDX-License-Identifier: MIT
// What the cache holds, for people and for cleaning: every entry with what it takes of the disk, when
// it was used last and by whom it is used now. Uses nothing itself, so no time of last use changes.
// Host side.
//
// Only what ktstr made counts: a directory of another name, or one below a known name that has neither
// a manifest nor a lock, belongs to somebody whose directory was taken for the cache.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/cache/disk_usage.hpp>
#include <ktstr/host/reserve/lock_holders.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace ktstr::host {

/// Everything the cache keeps, the most precious first. `qemu` are notes, one file each; `tmp` are
/// directories under construction.
inline constexpr std::array<std::string_view, 14> cache_kinds{
    "kernels",   "packages", "apt",       "images",   "btf",      "sources", "selftests",
    "initramfs", "payload",  "templates", "attached", "attaches", "qemu",    "tmp"};

struct surveyed_entry {
    std::string kind;
    std::string key;  ///< of a package NAME/VERSION
    std::filesystem::path path;
    std::uint64_t on_disk = 0;  ///< bytes it takes
    std::uint64_t bytes = 0;    ///< bytes its files say they have; 0: not known
    std::int64_t made_ns = 0;
    std::int64_t last_use_ns = 0;  ///< 0: not known
    bool in_use = false;
    std::vector<lock_holder> users;  ///< those that /proc tells of
    std::optional<std::string> damage;

    /// It was not used later than this.
    [[nodiscard]] std::int64_t idle_since_ns() const {
        return last_use_ns != 0 ? last_use_ns : made_ns;
    }
};

namespace detail {

inline std::int64_t mtime_ns(const std::filesystem::path& path) {
    struct ::stat facts {};
    return ::lstat(path.c_str(), &facts) == 0 ? identity_of(facts).mtime_ns : 0;
}

/// Whether somebody holds this lock, and who; takes it for the moment of asking. A lock that is not
/// there is not made.
inline void ask_lock(const std::filesystem::path& lock, surveyed_entry& entry) {
    const unique_fd file{::open(lock.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return;
    entry.in_use = true;
    for (auto& holder : holders_of(file.get()))
        if (std::find(entry.users.begin(), entry.users.end(), holder) == entry.users.end())
            entry.users.push_back(std::move(holder));
}

inline void survey_kind(const cache& in, const std::string& kind, const std::string& group,
                        check_depth depth, std::vector<surveyed_entry>& found) {
    for (auto& facts : in.list(group.empty() ? kind : kind + '/' + group, depth)) {
        surveyed_entry entry;
        entry.kind = kind;
        entry.key = group.empty() ? std::move(facts.key) : group + '/' + facts.key;
        entry.path = in.entry_path(kind, entry.key);
        entry.made_ns = mtime_ns(entry.path / manifest_name);
        entry.last_use_ns = facts.last_use_ns;
        if (entry.made_ns == 0 && entry.last_use_ns == 0)
            continue;  // not ours, or just deleted
        entry.on_disk = disk_usage(entry.path);
        entry.bytes = facts.size;
        entry.damage = std::move(facts.damage);
        ask_lock(in.lock_path(kind, entry.key, "use"), entry);
        ask_lock(in.lock_path(kind, entry.key, "make"), entry);
        found.push_back(std::move(entry));
    }
}

inline bool is_hash(std::string_view text) {
    return text.size() == 32 &&
           text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace detail

/// Everything in the cache, kind by kind, what was used last first.
[[nodiscard]] inline std::vector<surveyed_entry> survey(const cache& in,
                                                        check_depth depth = check_depth::quick) {
    namespace fs = std::filesystem;
    std::vector<surveyed_entry> found;
    std::error_code failed;
    for (const std::string_view name : cache_kinds) {
        const auto first = found.size();
        const std::string kind(name);
        if (kind == "packages") {
            for (fs::directory_iterator at(in.root() / kind, failed), end; !failed && at != end;
                 at.increment(failed))
                detail::survey_kind(in, kind, at->path().filename().string(), depth, found);
        } else if (kind == "qemu" || kind == "tmp") {
            for (fs::directory_iterator at(in.root() / kind, failed), end; !failed && at != end;
                 at.increment(failed)) {
                surveyed_entry entry;
                entry.kind = kind;
                entry.key = at->path().filename().string();
                entry.path = at->path();
                if (kind == "qemu" && !detail::is_hash(entry.key.substr(0, entry.key.find('.'))))
                    continue;
                entry.made_ns = detail::mtime_ns(entry.path);
                entry.on_disk = disk_usage(entry.path);
                if (kind == "tmp")  // whoever makes it holds it
                    detail::ask_lock(entry.path, entry);
                found.push_back(std::move(entry));
            }
        } else {
            detail::survey_kind(in, kind, {}, depth, found);
        }
        std::sort(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
                  [](const surveyed_entry& a, const surveyed_entry& b) {
                      return std::pair(-a.idle_since_ns(), std::string_view(a.key)) <
                             std::pair(-b.idle_since_ns(), std::string_view(b.key));
                  });
    }
    return found;
}

/// How each key begins: enough to know it again, and of its kind the only one. Hashes are cut to 8
/// digits, other names to 24 letters; more where they begin alike.
[[nodiscard]] inline std::vector<std::string> short_keys(
    const std::vector<surveyed_entry>& entries) {
    std::vector<std::string> shortened;
    for (const auto& entry : entries) {
        const std::string_view key = entry.key;
        const bool hash = key.size() >= 32 && detail::is_hash(key.substr(key.size() - 32));
        std::size_t length = hash ? key.size() - 24 : 24;
        for (const auto& other : entries)
            if (&other != &entry && other.kind == entry.kind) {
                const auto differ =
                    std::mismatch(key.begin(), key.end(), other.key.begin(), other.key.end());
                length = std::max(length, static_cast<std::size_t>(differ.first - key.begin()) + 1);
            }
        shortened.emplace_back(key.substr(0, length));
    }
    return shortened;
}

/// The entries that somebody may mean: KEY, the beginning of one, or KIND/KEY. A whole key is meant
/// as such although others begin with it.
[[nodiscard]] inline std::vector<surveyed_entry> entries_called(
    const std::vector<surveyed_entry>& entries, std::string_view text) {
    std::vector<surveyed_entry> whole, begun;
    for (const auto& entry : entries) {
        std::string_view key = text;
        if (key.starts_with(entry.kind + '/'))
            key.remove_prefix(entry.kind.size() + 1);
        if (entry.key == key)
            whole.push_back(entry);
        else if (!key.empty() && entry.key.starts_with(key))
            begun.push_back(entry);
    }
    return whole.empty() ? begun : whole;
}

}  // namespace ktstr::host
