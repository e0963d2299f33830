// SPDX-License-Identifier: MIT
// Writes everything to a descriptor, blocking or not.
#pragma once

#include <cerrno>
#include <cstddef>
#include <string_view>

#include <poll.h>
#include <unistd.h>

namespace ktstr {

/// False: it could not, and errno says why. Without a handler a reader that is gone raises SIGPIPE.
[[nodiscard]] inline bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(written));
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            // A terminal that another program switched to non-blocking is the usual cause on a host.
            pollfd room{fd, POLLOUT, 0};
            if (::poll(&room, 1, -1) >= 0 || errno == EINTR)
                continue;
        }
        if (errno != EINTR)
            return false;
    }
    return true;
}

}  // namespace ktstr
