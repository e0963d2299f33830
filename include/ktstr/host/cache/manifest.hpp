// SPDX-License-Identifier: MIT
// The list of files that makes a cache entry complete: written last, checked at every use by size
// and modification time, and by content when asked or when the times look odd. Host side.
//
//   ktstr-cache 1
//   k <size> <mtime ns> <hash> <path>        k: looked at on every use, these come first;
//   - <size> <mtime ns> <hash> <path>        -: looked at only by a full check
//   end <id of the content> <hash of every line above>
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cache/content_hash.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

namespace ktstr::host {

inline constexpr std::string_view manifest_name = ".manifest";
/// In an entry that was not written out to disk: the id of the boot in which it was made. After another
/// one its files may have holes behind a sound manifest. No part of its content.
inline constexpr std::string_view unsynced_name = ".unsynced";

struct manifest_file {
    std::string path;  ///< relative to the entry
    std::string hash;
    std::uint64_t size = 0;
    std::int64_t mtime_ns = 0;
    bool every_time = true;  ///< checked at every use, not only in full checks
};

struct manifest {
    std::vector<manifest_file> files;  ///< after a quick reading only those checked every time
    std::string id;                    ///< content id of the whole entry: names and hashes

    [[nodiscard]] std::uint64_t total_size() const {
        std::uint64_t sum = 0;
        for (const manifest_file& file : files)
            sum += file.size;
        return sum;
    }
};

enum class check_depth { quick, full };

namespace detail {

inline std::string content_id(const std::vector<manifest_file>& files) {
    content_hash hash;
    for (const manifest_file& file : files)
        hash.add(std::string_view{file.path}).add(std::string_view{file.hash});
    return hash.hex();
}

/// Writes a whole small file; the parent must exist.
inline result<void> write_text(const std::filesystem::path& path, std::string_view text) {
    unique_fd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file)
        return cache_error("create", path);
    while (!text.empty()) {
        const ssize_t n = ::write(file.get(), text.data(), text.size());
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cache_error("write", path);
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

/// Reads a whole file. Works for /proc too, whose files say they are empty.
inline result<std::string> read_text(const std::filesystem::path& path) {
    unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file)
        return system_error("open", path);
    struct ::stat facts {};
    ::fstat(file.get(), &facts);
    std::string text(static_cast<std::size_t>(std::max<off_t>(facts.st_size, 0)) + 4096, '\0');
    for (std::size_t have = 0;;) {
        if (have == text.size())
            text.resize(text.size() * 2);
        const ssize_t n = ::read(file.get(), text.data() + have, text.size() - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_error("read", path);
        if (n == 0) {
            text.resize(have);
            return text;
        }
        have += static_cast<std::size_t>(n);
    }
}

}  // namespace detail

/// Hashes everything below `directory` and writes its manifest.
inline result<void> write_manifest(const std::filesystem::path& directory,
                                   const std::function<bool(std::string_view)>& every_time = {}) {
    namespace fs = std::filesystem;
    std::vector<manifest_file> files;
    std::error_code failed;
    for (fs::recursive_directory_iterator at(directory, failed), end; !failed && at != end;
         at.increment(failed)) {
        struct ::stat facts {};
        if (::lstat(at->path().c_str(), &facts) != 0)
            return system_error("find", at->path());
        if (!S_ISREG(facts.st_mode))
            continue;
        manifest_file file;
        file.path = at->path().lexically_relative(directory).string();
        if (file.path == manifest_name || file.path == unsynced_name ||
            file.path.find('\n') != std::string::npos)
            continue;
        auto hash = hash_file(at->path());
        if (!hash)
            return hash.error();
        file.hash = *std::move(hash);
        const file_identity identity = identity_of(facts);
        file.size = identity.size;
        file.mtime_ns = identity.mtime_ns;
        file.every_time = !every_time || every_time(file.path);
        files.push_back(std::move(file));
    }
    if (failed)
        return cache_error("list", directory, failed.value());
    std::sort(files.begin(), files.end(), [](const manifest_file& a, const manifest_file& b) {
        return a.every_time != b.every_time ? a.every_time : a.path < b.path;
    });
    std::string text = "ktstr-cache 1\n";
    for (const manifest_file& file : files)
        text += std::string(file.every_time ? "k " : "- ") + std::to_string(file.size) + ' ' +
                std::to_string(file.mtime_ns) + ' ' + file.hash + ' ' + file.path + '\n';
    text += "end " + detail::content_id(files) + ' ' + hash_text(text) + '\n';
    return detail::write_text(directory / manifest_name, text);
}

/// Reads and proves a manifest: a cut or altered one is an error. A quick reading leaves out the
/// files that a quick check leaves out.
inline result<manifest> read_manifest(const std::filesystem::path& directory, check_depth depth) {
    const std::filesystem::path path = directory / manifest_name;
    auto text = detail::read_text(path);
    if (!text)
        return text.error();
    const auto damaged = [&] {
        return plain_error("use the cache entry", directory.string(), "its manifest is damaged");
    };
    const std::size_t end = text->rfind("\nend ");
    if (!text->starts_with("ktstr-cache 1\n") || end == std::string::npos ||
        text->size() != end + 71)  // "\nend ", two hashes, a space, a newline
        return damaged();
    const std::string_view body = std::string_view(*text).substr(0, end + 1);
    const std::string_view last = std::string_view(*text).substr(end + 1);
    if (last.substr(37) != hash_text(body) + '\n')
        return damaged();
    manifest found;
    std::string_view rest = body.substr(body.find('\n') + 1);
    while (!rest.empty()) {
        const std::size_t newline = rest.find('\n');
        std::string_view line = rest.substr(0, newline);
        rest.remove_prefix(newline + 1);
        manifest_file file;
        const char* const stop = line.data() + line.size();
        if (line.size() < 4)
            return damaged();
        file.every_time = line.front() == 'k';
        if (!file.every_time && depth == check_depth::quick)
            break;
        auto number = std::from_chars(line.data() + 2, stop, file.size);
        if (number.ec != std::errc{} || number.ptr == stop)
            return damaged();
        number = std::from_chars(number.ptr + 1, stop, file.mtime_ns);
        if (number.ec != std::errc{} || stop - number.ptr < 35)
            return damaged();
        file.hash.assign(number.ptr + 1, 32);
        file.path.assign(number.ptr + 34, stop);
        found.files.push_back(std::move(file));
    }
    found.id = last.substr(4, 32);
    return found;
}

/// What is wrong with an entry's files, or nothing. A file whose time differs from the manifest is
/// read and compared even in a quick check.
inline std::optional<std::string> find_damage(const std::filesystem::path& directory,
                                              const manifest& expected, check_depth depth) {
    for (const manifest_file& file : expected.files) {
        if (depth == check_depth::quick && !file.every_time)
            continue;
        const std::filesystem::path path = directory / file.path;
        struct ::stat facts {};
        if (::lstat(path.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode))
            return path.string() + " is missing";
        const file_identity identity = identity_of(facts);
        if (identity.size != file.size)
            return path.string() + " has " + std::to_string(identity.size) + " bytes instead of " +
                   std::to_string(file.size);
        if (depth == check_depth::quick && identity.mtime_ns == file.mtime_ns)
            continue;
        const auto hash = hash_file(path);
        if (!hash)
            return hash.error().message();
        if (*hash != file.hash)
            return path.string() + " has another content than when it was stored";
    }
    return std::nullopt;
}

}  // namespace ktstr::host
