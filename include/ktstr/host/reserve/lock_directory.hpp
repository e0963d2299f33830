// SPDX-License-Identifier: MIT
// The directory of lock files by which all users of a host agree on who uses what, and one such
// file. flock() ends with its holder however that dies, so there are no stale locks; a file's
// content only says for whom it is held. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace ktstr::host {

/// The name of a file system on which a lock of this host may mean nothing to others, or on which
/// it means something to other hosts; nothing for a local one.
[[nodiscard]] constexpr std::optional<std::string_view> unsuitable_file_system(
    std::uint64_t magic) {
    switch (magic & 0xffff'ffffU) {
        case 0x6969:
            return "NFS";
        case 0xff53'4d42:
            return "CIFS";
        case 0xfe53'4d42:
        case 0x517b:
            return "SMB";
        case 0x00c3'6400:
            return "Ceph";
        case 0x5346'414f:
        case 0x6b41'4653:
            return "AFS";
        case 0x6573'5546:
            return "FUSE";
        default:
            return std::nullopt;
    }
}

/// For whom a lock is held. What others wrote is believed only as far as courtesy goes.
struct lock_record {
    int pid = 0;
    int memory_mib = 0;  ///< promised to the machine; on one lock of each reservation
    std::string test;

    friend bool operator==(const lock_record&, const lock_record&) = default;
};

[[nodiscard]] inline std::string to_text(const lock_record& record) {
    return "pid " + std::to_string(record.pid) + "\nmemory_mib " +
           std::to_string(record.memory_mib) + "\ntest " + record.test + '\n';
}

[[nodiscard]] inline lock_record parse_lock_record(std::string_view text) {
    lock_record record;
    while (!text.empty()) {
        const auto end = text.find('\n');
        const auto line = text.substr(0, end);
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
        const auto number = [&line](std::string_view key, int& to) {
            int value = 0;
            if (line.starts_with(key) &&
                std::from_chars(line.data() + key.size(), line.data() + line.size(), value).ec ==
                    std::errc{} &&
                value > 0)
                to = value;
        };
        number("pid ", record.pid);
        number("memory_mib ", record.memory_mib);
        if (line.starts_with("test ")) {
            record.test.clear();
            for (const char c : line.substr(5))  // for a terminal: somebody else wrote it
                record.test += c >= ' ' && c <= '~' ? c : '?';
        }
    }
    return record;
}

/// One lock file. Opened once and kept open, so that looking at it wakes nobody who watches it.
class host_lock {
public:
    host_lock() = default;
    host_lock(unique_fd fd, std::filesystem::path path)
        : fd_(std::move(fd)), path_(std::move(path)) {}

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Takes the lock, or turns the one that is held into the other kind, without waiting.
    [[nodiscard]] bool try_shared() { return try_lock(LOCK_SH); }
    [[nodiscard]] bool try_exclusive() { return try_lock(LOCK_EX); }

    /// Gives the lock back. With `aloud` those who watch the file are woken, after it is free.
    void unlock(bool aloud) {
        ::flock(fd_.get(), LOCK_UN);
        if (aloud)
            ::futimens(fd_.get(), nullptr);
    }

    /// Says for whom the lock is held; empty text for nobody any more. May fail on somebody else's
    /// file, and then nobody knows.
    void write(std::string_view text) {
        if (::ftruncate(fd_.get(), 0) == 0) [[maybe_unused]]
            const auto n = ::pwrite(fd_.get(), text.data(), text.size(), 0);
    }
    [[nodiscard]] lock_record read() const {
        char text[1024];
        const auto n = ::pread(fd_.get(), text, sizeof text, 0);
        return parse_lock_record({text, n > 0 ? static_cast<std::size_t>(n) : 0});
    }

    /// Whether the path still leads to this file: somebody may have cleaned up.
    [[nodiscard]] bool current() const {
        struct ::stat mine {
        }, there{};
        return ::fstat(fd_.get(), &mine) == 0 && ::lstat(path_.c_str(), &there) == 0 &&
               mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
    }

private:
    [[nodiscard]] bool try_lock(int how) {
        while (::flock(fd_.get(), how | LOCK_NB) != 0)
            if (errno != EINTR)
                return false;
        return true;
    }

    unique_fd fd_;
    std::filesystem::path path_;
};

class lock_directory {
public:
    [[nodiscard]] static result<lock_directory> open(std::filesystem::path path) {
        lock_directory made;
        made.fd_ = unique_fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!made.fd_)
            return system_error("use the lock directory", path.string(),
                                "make it, or set KTSTR_LOCK_DIR to another");
        struct ::statfs facts {};
        if (::fstatfs(made.fd_.get(), &facts) != 0)
            return system_error("look at the lock directory", path.string());
        if (const auto name = unsuitable_file_system(static_cast<std::uint64_t>(facts.f_type)))
            return plain_error("use the lock directory", path.string(),
                               "it lies on " + std::string(*name) +
                                   ", where locks do not hold between the programs of one host",
                               "set KTSTR_LOCK_DIR to a local directory, such as /dev/shm");
        made.path_ = std::move(path);
        return made;
    }

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

    /// Opens a lock file, made for everybody of this host if it is not there yet. Never follows a
    /// link and never opens a device: the directory may be one that anybody can write to.
    [[nodiscard]] result<host_lock> lock(const std::string& name) const {
        const auto path = path_ / name;
        constexpr int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
        for (int attempt = 0; attempt < 10; ++attempt) {
            // Without O_CREAT first: a sticky directory refuses that for somebody else's file.
            unique_fd fd(::openat(fd_.get(), name.c_str(), O_RDWR | flags));
            if (!fd && (errno == EACCES || errno == EROFS))
                fd = unique_fd(::openat(fd_.get(), name.c_str(), O_RDONLY | flags));
            if (!fd && errno == ENOENT) {
                fd = unique_fd(
                    ::openat(fd_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | flags, 0666));
                if (!fd && errno == EEXIST)
                    continue;
                if (fd)  // whatever the umask says
                    ::fchmod(fd.get(), 0666);
            }
            if (!fd && errno == EACCES && attempt < 9) {
                // Its maker, another user, may be about to open it to everybody.
                const ::timespec moment{0, 1'000'000};
                ::nanosleep(&moment, nullptr);
                continue;
            }
            if (!fd && errno == ELOOP)
                return plain_error("open the lock", path.string(), "it is a symbolic link",
                                   "remove it, or set KTSTR_LOCK_DIR to a directory of your own");
            if (!fd)
                return system_error("open the lock", path.string(),
                                    "set KTSTR_LOCK_DIR to a directory you can write to");
            struct ::stat facts {};
            if (::fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode))
                return plain_error("open the lock", path.string(), "it is not a regular file",
                                   "remove it, or set KTSTR_LOCK_DIR to a directory of your own");
            return host_lock(std::move(fd), path);
        }
        return plain_error("open the lock", path.string(), "it comes and goes");
    }

private:
    lock_directory() = default;

    unique_fd fd_;
    std::filesystem::path path_;
};

[[nodiscard]] inline std::string llc_lock_name(int llc) {
    return "ktstr-llc-" + std::to_string(llc) + ".lock";
}
[[nodiscard]] inline std::string cpu_lock_name(int cpu) {
    return "ktstr-cpu-" + std::to_string(cpu) + ".lock";
}
/// Held for the moment in which somebody chooses and takes locks, so that two never take half each.
inline constexpr std::string_view choosing_lock_name = "ktstr-choosing.lock";

}  // namespace ktstr::host
