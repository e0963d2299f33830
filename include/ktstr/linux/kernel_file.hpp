// SPDX-License-Identifier: MIT
// Whole reads and writes of the small text files the kernel shows in /proc, /sys and cgroupfs. Each
// error names the path and the errno. Plain system calls: a stream would cost more than the read,
// and cgroupfs wants each value in one write.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace ktstr {

/// The file's text, with its newline.
[[nodiscard]] inline result<std::string> read_kernel_file(const std::string& path) {
    const unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd)
        return system_error("open", path);
    std::string text;
    std::array<char, 4096> chunk;
    for (;;) {
        const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return system_error("read", path);
        if (n == 0)
            return text;
        text.append(chunk.data(), static_cast<std::size_t>(n));
    }
}

/// Writes `text` in one write call, which is what the kernel's handlers judge.
[[nodiscard]] inline result<void> write_kernel_file(const std::string& path,
                                                    std::string_view text) {
    const unique_fd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    if (!fd)
        return system_error("open", path);
    ssize_t n = 0;
    do {
        n = ::write(fd.get(), text.data(), text.size());
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return system_error("write \"" + std::string(text) + "\" to", path);
    if (static_cast<std::size_t>(n) != text.size())
        return plain_error("write \"" + std::string(text) + "\" to", path,
                           "only " + std::to_string(n) + " bytes were taken");
    return {};
}

/// The text without the newlines and blanks at its end.
[[nodiscard]] inline std::string_view without_newline(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.remove_suffix(1);
    return text;
}

}  // namespace ktstr
