// SPDX-License-Identifier: MIT
// 128-bit content hashes for cache keys and for finding damaged files. Not cryptographic: it tells
// contents apart and finds damage, it does not stop a forger (packages are verified by apt's
// signatures before they get here). Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/host/process/stop_signal.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

// Always as -O2 makes it: its functions insist on being inlined through pointers, which g++ refuses at -Og, and a
// machine's memory takes seven times as long at -O0. <emmintrin.h> is not to be part of that.
#if defined(__SSE2__)
#    include <emmintrin.h>
#endif
#ifndef XXH_INLINE_ALL
#    define XXH_INLINE_ALL
#endif
#if defined(__GNUC__) && !defined(__clang__)
#    ifndef XXH_NO_INLINE_HINTS
#        define XXH_NO_INLINE_HINTS 0
#    endif
#    pragma GCC push_options
#    pragma GCC optimize("O2")
#    include <xxhash.h>
#    pragma GCC pop_options
#else
#    include <xxhash.h>
#endif

namespace ktstr::host {

/// Collects values and texts into one hash. Every addition is framed, so that ("ab", "c") and
/// ("a", "bc") differ.
class content_hash {
public:
    content_hash() : state_(XXH3_createState(), &XXH3_freeState) {
        XXH3_128bits_reset(state_.get());
    }

    content_hash& add_bytes(std::string_view bytes) {
        XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
        return *this;
    }
    content_hash& add(std::string_view text) {
        add(static_cast<std::uint64_t>(text.size()));
        return add_bytes(text);
    }
    template <std::integral T>
    content_hash& add(T value) {
        const auto wide = static_cast<std::uint64_t>(value);
        XXH3_128bits_update(state_.get(), &wide, sizeof wide);
        return *this;
    }

    /// 32 lower-case hexadecimal digits.
    [[nodiscard]] std::string hex() const {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
        std::string text;
        for (const unsigned char byte : canonical.digest) {
            text += "0123456789abcdef"[byte >> 4];
            text += "0123456789abcdef"[byte & 15];
        }
        return text;
    }

private:
    std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

/// The hash of a text.
[[nodiscard]] inline std::string hash_text(std::string_view text) {
    return content_hash{}.add_bytes(text).hex();
}

/// The hash of a whole file; equal to hash_text() of its content. The stop signal ends it: a machine's
/// memory takes seconds.
[[nodiscard]] inline result<std::string> hash_file(const std::filesystem::path& path) {
    unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file)
        return system_error("open", path);
    content_hash hash;
    std::vector<char> buffer(std::size_t{1} << 20);
    const std::vector<char> zeros(std::size_t{1} << 16);
    off_t at = 0;
    for (;;) {
        // A machine's memory and disks are mostly holes; reading those would fill the page cache.
        off_t data = ::lseek(file.get(), at, SEEK_DATA);
        if (data < 0)
            data = errno == ENXIO ? ::lseek(file.get(), 0, SEEK_END) : at;
        for (; at < data && stop_signal::received() == 0;) {
            const auto n = std::min<off_t>(data - at, static_cast<off_t>(zeros.size()));
            hash.add_bytes({zeros.data(), static_cast<std::size_t>(n)});
            at += n;
        }
        if (stop_signal::received() != 0)
            return plain_error("read", path.string(), "interrupted");
        const ssize_t n = ::pread(file.get(), buffer.data(), buffer.size(), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_error("read", path);
        if (n == 0)
            return hash.hex();
        hash.add_bytes({buffer.data(), static_cast<std::size_t>(n)});
        at += n;
    }
}

/// What tells, without reading it, that a file is still the one it was.
struct file_identity {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t mtime_ns = 0, ctime_ns = 0;

    friend bool operator==(const file_identity&, const file_identity&) = default;

    void add_to(content_hash& hash) const {
        hash.add(device).add(inode).add(size).add(mtime_ns).add(ctime_ns);
    }
};

[[nodiscard]] inline file_identity identity_of(const struct ::stat& facts) {
    const auto ns = [](const ::timespec& at) {
        return std::int64_t{at.tv_sec} * 1'000'000'000 + at.tv_nsec;
    };
    return {static_cast<std::uint64_t>(facts.st_dev), static_cast<std::uint64_t>(facts.st_ino),
            static_cast<std::uint64_t>(facts.st_size), ns(facts.st_mtim), ns(facts.st_ctim)};
}

/// The identity of the file a path leads to.
[[nodiscard]] inline result<file_identity> identity_of(const std::filesystem::path& path) {
    struct ::stat facts {};
    if (::stat(path.c_str(), &facts) != 0)
        return system_error("find", path);
    return identity_of(facts);
}

}  // namespace ktstr::host
