// SPDX-License-Identifier: MIT
// A directory under construction inside the cache. Its maker holds a flock on it, so one left by a
// dead process is recognised without guessing from process ids, and is removed. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cache/file_lock.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>

namespace ktstr::host {

class temporary_directory {
public:
    /// Makes one in `parent`, which is created if need be.
    static result<temporary_directory> create(const std::filesystem::path& parent) {
        if (const auto failed = make_cache_directory(parent))
            return cache_error("create", parent, failed.value());
        for (;;) {
            std::string name = (parent / "XXXXXX").string();
            if (::mkdtemp(name.data()) == nullptr)
                return cache_error("create a temporary directory in", parent);
            unique_fd held{::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
            // A cleaner may have won the instant between mkdtemp and flock: then take another.
            if (held && ::flock(held.get(), LOCK_EX | LOCK_NB) == 0 &&
                detail::is_same_file(held.get(), name))
                return temporary_directory(std::move(name), std::move(held));
        }
    }

    temporary_directory(temporary_directory&& other) noexcept
        : path_(std::exchange(other.path_, {})), held_(std::move(other.held_)) {}
    temporary_directory& operator=(temporary_directory&&) = delete;
    ~temporary_directory() {
        if (path_.empty())
            return;
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

    /// The directory was renamed into its place: nothing is left to remove.
    void release() { path_.clear(); }

private:
    temporary_directory(std::filesystem::path path, unique_fd held)
        : path_(std::move(path)), held_(std::move(held)) {}

    std::filesystem::path path_;
    unique_fd held_;
};

/// Removes what dead processes left in `parent`; returns how many directories went.
inline int remove_stale_directories(const std::filesystem::path& parent) {
    int removed = 0;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(parent, failed), end; !failed && at != end;
         at.increment(failed)) {
        unique_fd held{::open(at->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
        if (!held || ::flock(held.get(), LOCK_EX | LOCK_NB) != 0)
            continue;
        std::error_code ignored;
        // May meet a tool that outlived its killed starter and still writes: the next run gets it.
        std::filesystem::remove_all(at->path(), ignored);
        removed += ignored ? 0 : 1;
    }
    return removed;
}

}  // namespace ktstr::host
