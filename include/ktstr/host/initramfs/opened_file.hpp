// SPDX-License-Identifier: MIT
// A file as it was when a run first asked for it, whatever a build puts in its place meanwhile. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/content_hash.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

namespace ktstr::host {

/// Whether two looks at an opened file saw the same bytes. A file whose name was given to another one has
/// changed in nothing but its ctime.
[[nodiscard]] inline bool same_bytes(const file_identity& a, const file_identity& b) {
    return a.device == b.device && a.inode == b.inode && a.size == b.size &&
           a.mtime_ns == b.mtime_ns;
}

class opened_file {
public:
    [[nodiscard]] static result<std::shared_ptr<const opened_file>> open(
        const std::filesystem::path& path) {
        unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd)
            return system_error("open", path.string());
        struct ::stat facts {};
        if (::fstat(fd.get(), &facts) != 0)
            return system_error("look at", path.string());
        return std::shared_ptr<const opened_file>(
            new opened_file(path, std::move(fd), identity_of(facts)));
    }

    /// Where it was: another file may be there.
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] const file_identity& identity() const noexcept { return identity_; }
    /// The file itself, to be opened by whoever reads it.
    [[nodiscard]] std::filesystem::path again() const {
        return "/proc/self/fd/" + std::to_string(fd_.get());
    }
    /// Whether another file, or none, has taken its place, or it was written to.
    [[nodiscard]] bool replaced() const {
        const auto now = identity_of(path_);
        return !now || !same_bytes(*now, identity_);
    }

private:
    opened_file(std::filesystem::path path, unique_fd fd, const file_identity& identity)
        : path_(std::move(path)), fd_(std::move(fd)), identity_(identity) {}

    std::filesystem::path path_;
    unique_fd fd_;
    file_identity identity_;
};

}  // namespace ktstr::host
