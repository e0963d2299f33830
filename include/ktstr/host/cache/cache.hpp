// SPDX-License-Identifier: MIT
// Entries on disk that several processes make, use and delete at once. An entry is a directory that
// appears by one rename, complete, with a manifest. One maker at a time per entry; users hold a
// shared lock, so that nobody deletes what is in use. Host side.
//
//   ROOT/KIND/KEY/...              an entry
//   ROOT/locks/KIND.KEY.use        shared: users; exclusive: who deletes it. Its time: last use
//   ROOT/locks/KIND.KEY.make       exclusive: who makes it
//   ROOT/tmp/XXXXXX/               entries being made, and entries on their way out
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/scope_exit.hpp>
#include <ktstr/host/cache/boot_id.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cache/disk_usage.hpp>
#include <ktstr/host/cache/file_lock.hpp>
#include <ktstr/host/cache/manifest.hpp>
#include <ktstr/host/cache/temporary_directory.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ktstr::host {

/// An entry that stays where it is as long as a copy of `in_use` lives, unless somebody finds that it is
/// no good, see set_aside().
struct cache_entry {
    std::filesystem::path path;
    manifest content;
    std::shared_ptr<unique_fd> in_use;     ///< empty on a read-only cache
    std::shared_ptr<unique_fd> directory;  ///< tells this entry from one that took its place
};

struct cache_entry_facts {
    std::string key;
    std::uint64_t size = 0;
    std::int64_t last_use_ns = 0;
    std::optional<std::string> damage;
};

class cache {
public:
    struct make_options {
        std::string what;                                        ///< "kernel 7.3.4", for messages
        progress_callback progress;                              ///< hears why it waits
        std::function<bool(std::string_view)> check_every_time;  ///< see manifest; empty: all
        /// Flush to disk before publishing. Off for what is cheap to make again: it is believed until
        /// this host boots anew.
        bool durable = true;
    };
    using maker = std::function<result<void>(const std::filesystem::path& directory)>;

    /// `boot`: see boot_id(); another one only in tests.
    explicit cache(std::filesystem::path root, std::string boot = boot_id())
        : root_(std::move(root)), boot_(std::move(boot)) {}

    /// The cache of this user, see cache_root(). Touches nothing yet.
    static result<cache> open() {
        auto root = cache_root();
        if (!root)
            return root.error();
        return cache(*std::move(root));
    }

    [[nodiscard]] const std::filesystem::path& root() const { return root_; }
    [[nodiscard]] std::filesystem::path entry_path(std::string_view kind,
                                                   std::string_view key) const {
        return root_ / kind / key;
    }
    /// Of an entry: `purpose` is "use" or "make", see above.
    [[nodiscard]] std::filesystem::path lock_path(std::string_view kind, std::string_view key,
                                                  std::string_view purpose) const {
        std::string name(kind);
        std::replace(name.begin(), name.end(), '/', '.');
        name += '.';
        name += key;
        std::replace(name.begin(), name.end(), '/', '.');
        name += '.';
        name += purpose;
        return root_ / "locks" / name;
    }
    [[nodiscard]] std::filesystem::path temporary_parent() const { return root_ / "tmp"; }

    /// Keeps an entry that is there from being deleted, and notes the time; empty on a read-only cache.
    [[nodiscard]] std::shared_ptr<unique_fd> use(std::string_view kind,
                                                 std::string_view key) const {
        auto lock = lock_file(lock_path(kind, key, "use"), lock_mode::shared);
        if (!lock)
            return {};
        ::futimens(lock->get(), nullptr);
        return std::make_shared<unique_fd>(*std::move(lock));
    }

    /// The entry if it is there and sound. A damaged one counts as absent; `damage` says why.
    [[nodiscard]] std::optional<cache_entry> find(std::string_view kind, std::string_view key,
                                                  std::string* damage = nullptr) const {
        cache_entry entry{entry_path(kind, key), {}, {}, {}};
        if (::access((entry.path / manifest_name).c_str(), F_OK) != 0) {
            if (damage != nullptr && ::access(entry.path.c_str(), F_OK) == 0)
                *damage = entry.path.string() + " has no manifest";
            return std::nullopt;
        }
        entry.in_use = use(kind, key);
        entry.directory = std::make_shared<unique_fd>(
            ::open(entry.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        auto content = read_manifest(entry.path, check_depth::quick);
        std::optional<std::string> wrong;
        if (!content)
            wrong = content.error().message();
        else if (!of_this_boot(entry.path))
            wrong = not_written_out(entry.path);
        else
            wrong = find_damage(entry.path, *content, check_depth::quick);
        if (wrong) {
            if (damage != nullptr)
                *damage = *std::move(wrong);
            return std::nullopt;
        }
        entry.content = *std::move(content);
        return entry;
    }

    /// The entry, made by `make` in a fresh directory if it is absent or damaged. Of several
    /// processes one makes it and the others wait.
    result<cache_entry> obtain(std::string_view kind, std::string_view key,
                               const make_options& options, const maker& make) const {
        return obtain_if(kind, key, options, make, [](const cache_entry&) { return true; });
    }

    /// As obtain(), for entries that go out of date: one that `current` refuses is made again.
    result<cache_entry> obtain_if(std::string_view kind, std::string_view key,
                                  const make_options& options, const maker& make,
                                  const std::function<bool(const cache_entry&)>& current) const {
        if (auto there = find(kind, key); there && current(*there))
            return *std::move(there);
        if (auto ready = make_directories(kind); !ready)
            return ready.error();
        const auto lock = lock_file(lock_path(kind, key, "make"), lock_mode::exclusive, [&] {
            if (options.progress)
                options.progress("waiting for another process that prepares " + options.what);
        });
        if (!lock)
            return lock.error();
        // We hold it, so whoever waits for it finds it gone and makes another; see lock_file().
        const scope_exit forget([path = lock_path(kind, key, "make")] { ::unlink(path.c_str()); });
        std::string damage;
        if (auto there = find(kind, key, &damage); there && current(*there))
            return *std::move(there);  // made while we waited
        if (!damage.empty() && options.progress)
            options.progress("making " + options.what + " again: " + damage);
        remove_stale_directories(temporary_parent());
        auto made = temporary_directory::create(temporary_parent());
        if (!made)
            return made.error();
        if (auto done = make(made->path()); !done)
            return done.error();
        if (auto published = publish(kind, key, *made, options); !published)
            return published.error();
        if (auto there = find(kind, key, &damage))
            return *std::move(there);
        return plain_error("use", options.what, "just made and yet unusable: " + damage);
    }

    /// Every entry of a kind, sound or not, sorted by key.
    [[nodiscard]] std::vector<cache_entry_facts> list(
        std::string_view kind, check_depth depth = check_depth::quick) const {
        std::vector<cache_entry_facts> found;
        std::error_code failed;
        for (std::filesystem::directory_iterator at(root_ / kind, failed), end;
             !failed && at != end; at.increment(failed)) {
            if (!at->is_directory(failed))
                continue;
            cache_entry_facts facts;
            facts.key = at->path().filename().string();
            struct ::stat lock {};
            if (::stat(lock_path(kind, facts.key, "use").c_str(), &lock) == 0)
                facts.last_use_ns = identity_of(lock).mtime_ns;
            if (const auto content = read_manifest(at->path(), check_depth::full)) {
                facts.size = content->total_size();
                facts.damage = of_this_boot(at->path()) ? find_damage(at->path(), *content, depth)
                                                        : not_written_out(at->path());
            } else {
                facts.damage = content.error().message();
            }
            found.push_back(std::move(facts));
        }
        std::sort(found.begin(), found.end(),
                  [](const auto& a, const auto& b) { return a.key < b.key; });
        return found;
    }

    /// Deletes an entry; false when somebody uses it.
    result<bool> remove(std::string_view kind, std::string_view key) const {
        if (auto ready = make_directories(kind); !ready)
            return ready.error();
        const std::filesystem::path use = lock_path(kind, key, "use");
        auto lock = try_lock_file(use, lock_mode::exclusive);
        if (!lock)
            return lock.error();
        if (!lock->has_value())
            return false;
        if (auto gone = take_away(entry_path(kind, key)); !gone)
            return gone.error();
        ::unlink(use.c_str());
        return true;
    }

    /// Takes away an entry that is no good, although others may use it: nobody finds it any more, and
    /// what they have open stays. False when it is not there: another one may be in its place.
    result<bool> set_aside(std::string_view kind, std::string_view key,
                           const unique_fd& directory) const {
        const auto path = entry_path(kind, key);
        if (!detail::is_same_file(directory.get(), path))
            return false;
        if (auto gone = take_away(path); !gone)
            return gone.error();
        return true;
    }

    /// Deletes the entries used longest ago until the kind takes at most `limit` bytes of the disk.
    /// Entries in use stay.
    void evict(std::string_view kind, std::uint64_t limit) const {
        std::vector<cache_entry_facts> entries;
        std::error_code failed;
        std::uint64_t total = 0;
        for (std::filesystem::directory_iterator at(root_ / kind, failed), end;
             !failed && at != end; at.increment(failed)) {
            cache_entry_facts facts;
            facts.key = at->path().filename().string();
            struct ::stat lock {};
            if (::stat(lock_path(kind, facts.key, "use").c_str(), &lock) == 0)
                facts.last_use_ns = identity_of(lock).mtime_ns;
            facts.size = disk_usage(at->path());
            total += facts.size;
            entries.push_back(std::move(facts));
        }
        std::sort(entries.begin(), entries.end(),
                  [](const auto& a, const auto& b) { return a.last_use_ns < b.last_use_ns; });
        for (const cache_entry_facts& oldest : entries) {
            if (total <= limit)
                return;
            if (const auto gone = remove(kind, oldest.key); gone && *gone)
                total -= oldest.size;
        }
    }

private:
    [[nodiscard]] result<void> make_directories(std::string_view kind) const {
        for (const auto& directory : {root_ / "locks", root_ / kind}) {
            if (const auto failed = make_cache_directory(directory))
                return cache_error("create", directory, failed.value());
        }
        return {};
    }

    [[nodiscard]] static std::string not_written_out(const std::filesystem::path& entry) {
        return entry.string() + " was not written out before this host booted anew";
    }

    /// False for an entry that a crash of this host may have left with holes.
    [[nodiscard]] bool of_this_boot(const std::filesystem::path& entry) const {
        const auto path = entry / unsynced_name;
        if (::access(path.c_str(), F_OK) != 0)
            return true;
        const auto noted = detail::read_text(path);
        return noted && !noted->empty() && *noted == boot_;
    }

    /// Renames `path` out of sight, then deletes it: nobody ever sees half of an entry.
    [[nodiscard]] result<void> take_away(const std::filesystem::path& path) const {
        auto grave = temporary_directory::create(temporary_parent());
        if (!grave)
            return grave.error();
        if (::rename(path.c_str(), (grave->path() / "gone").c_str()) != 0 && errno != ENOENT)
            return cache_error("remove", path);
        return {};
    }

    [[nodiscard]] result<void> publish(std::string_view kind, std::string_view key,
                                       temporary_directory& made,
                                       const make_options& options) const {
        const std::filesystem::path target = entry_path(kind, key);
        const bool durable = options.durable || boot_.empty();
        if (!durable)
            if (auto noted = detail::write_text(made.path() / unsynced_name, boot_); !noted)
                return noted;
        if (auto written = write_manifest(made.path(), options.check_every_time); !written)
            return written;
        ::chmod(made.path().c_str(), 0755);
        if (durable) {
            // One syncfs is far cheaper than a thousand fsyncs, and reports lost writes as well.
            const unique_fd directory{
                ::open(made.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
            if (!directory || ::syncfs(directory.get()) != 0)
                return cache_error("write out", target);
        }
        for (;;) {
            if (::rename(made.path().c_str(), target.c_str()) == 0)
                break;
            if (errno != ENOTEMPTY && errno != EEXIST)
                return cache_error("store", target);
            if (auto gone = take_away(target); !gone)  // the damaged or outdated one
                return gone;
        }
        made.release();
        if (durable) {
            const unique_fd parent{
                ::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
            if (parent)
                ::fsync(parent.get());
        }
        return {};
    }

    std::filesystem::path root_;
    std::string boot_;
};

}  // namespace ktstr::host
