// SPDX-License-Identifier: MIT
// Writes a cpio archive in the kernel's "newc" format (Documentation/driver-api/early-userspace/
// buffer-format.rst): uncompressed, owned by root, without times, so that equal input gives equal
// bytes. Archives may be written one behind the other. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache_root.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace ktstr::host {

/// Copies `size` bytes between two files at their positions, in the kernel where it can.
inline result<void> copy_bytes(int from, int to, std::uint64_t size, const std::string& name) {
    bool in_kernel = true;
    std::string buffer;
    while (size > 0) {
        ssize_t n = -1;
        if (in_kernel) {
            n = ::copy_file_range(from, nullptr, to, nullptr, static_cast<std::size_t>(size), 0);
            // Some file systems refuse, or (procfs, sysfs) copy nothing: read and write instead.
            if (n == 0 || (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                                     errno == EOPNOTSUPP || errno == EBADF))) {
                in_kernel = false;
                continue;
            }
        } else {
            buffer.resize(std::size_t{1} << 18);
            n = ::read(from, buffer.data(), std::min<std::uint64_t>(buffer.size(), size));
            if (n == 0)
                return plain_error("pack", name, "it became shorter meanwhile",
                                   "wait for the build to end, then run again");
            for (ssize_t done = 0; n > 0 && done < n;) {
                const ssize_t written =
                    ::write(to, buffer.data() + done, static_cast<std::size_t>(n - done));
                if (written < 0 && errno != EINTR) {
                    n = -1;
                    break;
                }
                done += written > 0 ? written : 0;
            }
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cache_error("pack", name);
        size -= static_cast<std::uint64_t>(n);
    }
    return {};
}

class cpio_writer {
public:
    /// Appends to `fd`, whose position must be a multiple of 4. `name` is for messages.
    cpio_writer(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

    result<void> directory(std::string_view path, mode_t mode) {
        entry(path, S_IFDIR | mode, 0, 0);
        return flush_if_full();
    }
    result<void> symlink(std::string_view path, std::string_view target) {
        entry(path, S_IFLNK | 0777, target.size(), 0);
        pending_ += target;
        pad();
        return flush_if_full();
    }
    result<void> device(std::string_view path, mode_t mode, dev_t number) {
        entry(path, mode, 0, number);
        return flush_if_full();
    }
    result<void> file(std::string_view path, mode_t mode, std::string_view content) {
        if (auto fits = check_size(path, content.size()); !fits)
            return fits;
        entry(path, S_IFREG | mode, content.size(), 0);
        pending_ += content;
        pad();
        return flush_if_full();
    }
    /// A file whose `size` bytes come from a descriptor.
    result<void> file(std::string_view path, mode_t mode, int from, std::uint64_t size) {
        if (auto fits = check_size(path, size); !fits)
            return fits;
        entry(path, S_IFREG | mode, size, 0);
        if (auto flushed = flush(); !flushed)
            return flushed;
        if (auto copied = copy_bytes(from, fd_, size, std::string(path)); !copied)
            return copied;
        written_ += size;
        pad();
        return {};
    }

    /// Ends the archive; another may follow.
    result<void> finish() {
        entry("TRAILER!!!", 0, 0, 0);
        pending_.resize(pending_.size() + (512 - size() % 512) % 512, '\0');
        return flush();
    }

    [[nodiscard]] std::uint64_t size() const { return written_ + pending_.size(); }

private:
    static result<void> check_size(std::string_view path, std::uint64_t size) {
        if (size <= 0xffffffffU)
            return {};
        return plain_error("pack", std::string(path), "a file of 4 GiB or more does not fit",
                           "strip its debug information");
    }

    void entry(std::string_view path, mode_t mode, std::uint64_t size, dev_t number) {
        while (path.starts_with('/'))
            path.remove_prefix(1);
        if (path.empty())
            path = ".";
        std::array<char, 128> header;
        const int length =
            std::snprintf(header.data(), header.size(),
                          "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++inode_,
                          mode, 0, 0, S_ISDIR(mode) ? 2 : 1, 0, static_cast<unsigned>(size), 0, 0,
                          major(number), minor(number), static_cast<unsigned>(path.size() + 1), 0);
        pending_.append(header.data(), static_cast<std::size_t>(length));
        pending_ += path;
        pending_ += '\0';
        pad();
    }

    void pad() { pending_.resize(pending_.size() + (4 - size() % 4) % 4, '\0'); }

    result<void> flush_if_full() {
        return pending_.size() < (std::size_t{1} << 18) ? result<void>{} : flush();
    }
    result<void> flush() {
        for (std::string_view rest = pending_; !rest.empty();) {
            const ssize_t n = ::write(fd_, rest.data(), rest.size());
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return cache_error("write", name_);
            rest.remove_prefix(static_cast<std::size_t>(n));
        }
        written_ += pending_.size();
        pending_.clear();
        return {};
    }

    int fd_;
    std::string name_;
    std::string pending_;
    std::uint64_t written_ = 0;
    unsigned inode_ = 0;
};

}  // namespace ktstr::host
