// SPDX-License-Identifier: MIT
// Where the cache lives, and how a failure to write there is worded. Host side.
#pragma once

#include <ktstr/base/result.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace ktstr::host {

namespace detail {

inline result<std::filesystem::path> cache_root_of_environment() {
    if (const char* own = std::getenv("KTSTR_CACHE_DIR"); own != nullptr && *own != '\0') {
        std::error_code failed;
        auto path = std::filesystem::absolute(own, failed);
        if (failed)
            return plain_error("use the cache directory", own, failed.message(),
                               "set KTSTR_CACHE_DIR to an absolute path");
        return path;
    }
    // A relative XDG_CACHE_HOME is to be ignored, says its specification.
    if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg == '/')
        return std::filesystem::path(xdg) / "ktstr";
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home != '/') {
        const passwd* user = ::getpwuid(::geteuid());
        home = user != nullptr ? user->pw_dir : nullptr;
    }
    if (home == nullptr || *home != '/')
        return plain_error("find", "the cache directory", "this user has no home directory",
                           "set KTSTR_CACHE_DIR to a directory you may write");
    return std::filesystem::path(home) / ".cache" / "ktstr";
}

/// Whether nobody but this user and root can put files into a directory. One that is not there yet is
/// fine.
inline result<void> require_own(const std::filesystem::path& directory) {
    struct ::stat facts {};
    if (::stat(directory.c_str(), &facts) != 0)
        return {};
    if (facts.st_uid != ::geteuid() && facts.st_uid != 0)
        return plain_error(
            "use the cache", directory.string(),
            "it belongs to user " + std::to_string(facts.st_uid) + ", and programs are run from it",
            "set KTSTR_CACHE_DIR to a directory of your own");
    if ((facts.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return plain_error("use the cache", directory.string(),
                           "others may write to it, and programs are run from it",
                           "chmod go-w '" + directory.string() + "'");
    return {};
}

}  // namespace detail

/// $KTSTR_CACHE_DIR, else $XDG_CACHE_HOME/ktstr, else ~/.cache/ktstr. The directory need not exist; one
/// that others can write to is refused, and so is one with such a directory in it.
inline result<std::filesystem::path> cache_root() {
    auto root = detail::cache_root_of_environment();
    if (!root)
        return root;
    if (auto own = detail::require_own(*root); !own)
        return own.error();
    std::error_code failed;
    for (std::filesystem::directory_iterator at(*root, failed), end; !failed && at != end;
         at.increment(failed))
        if (std::error_code ignored; at->is_directory(ignored))
            if (auto own = detail::require_own(at->path()); !own)
                return own.error();
    return root;
}

/// Makes a directory of the cache and those above it, whatever the umask is: see cache_root().
inline std::error_code make_cache_directory(const std::filesystem::path& directory) {
    if (::mkdir(directory.c_str(), 0755) == 0)
        return {};
    if (errno == ENOENT && directory.has_relative_path()) {
        if (const auto failed = make_cache_directory(directory.parent_path()))
            return failed;
        if (::mkdir(directory.c_str(), 0755) == 0)
            return {};
    }
    std::error_code failed(errno, std::generic_category());
    std::error_code ignored;
    return std::filesystem::is_directory(directory, ignored) ? std::error_code{} : failed;
}

/// A failed write in the cache, with the remedy that fits its errno.
inline error cache_error(std::string what, const std::filesystem::path& object, int code = errno) {
    std::string hint;
    if (code == ENOSPC || code == EDQUOT)
        hint =
            "free space there, run `ktstr cache clean --unused 7`, or set KTSTR_CACHE_DIR to a "
            "directory on a larger file system";
    else if (code == EACCES || code == EPERM || code == EROFS)
        hint = "set KTSTR_CACHE_DIR to a directory you may write";
    return system_error(std::move(what), object.string(), std::move(hint), code);
}

/// Fails, naming the remedy, when the file system of `directory` (or of its nearest existing
/// parent) has less than `bytes` left for this user.
inline result<void> require_space(const std::filesystem::path& directory, std::uint64_t bytes,
                                  const std::string& purpose) {
    std::filesystem::path existing = directory;
    struct ::statvfs facts {};
    while (::statvfs(existing.c_str(), &facts) != 0) {
        if (errno != ENOENT || existing == existing.parent_path())
            return cache_error("look at the file system of", existing);
        existing = existing.parent_path();
    }
    const std::uint64_t left = std::uint64_t{facts.f_bavail} * facts.f_frsize;
    if (left >= bytes)
        return {};
    error full = cache_error(purpose + " in", directory, ENOSPC);
    full.reason = "disk full: " + std::to_string(left >> 20) + " MiB left, " +
                  std::to_string(bytes >> 20) + " MiB needed";
    return full;
}

}  // namespace ktstr::host
