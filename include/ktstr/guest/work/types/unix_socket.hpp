// SPDX-License-Identifier: MIT
// The work kind unix_socket: a message there and back between two workers, through a pair of sockets.
#pragma once

#include <ktstr/guest/work/work_loop.hpp>
#include <ktstr/scenario/work.hpp>

#include <vector>

#include <sys/socket.h>

namespace ktstr::guest {

[[nodiscard]] inline result<void> prepare(const work::unix_socket&, crew& crew) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return system_error("make a pair of sockets for", "workers that work together");
    crew.keep(ends[0]);
    crew.keep(ends[1]);
    crew.word(0).value = 1;  // whose turn it is to send
    return {};
}

inline void run(const work::unix_socket& work, work_loop& loop) {
    const std::size_t self = loop.member() == 0 ? 0 : 1;
    const int socket = loop.crew().fd(self);
    auto& mine = loop.crew().word(self);
    auto& others = loop.crew().word(1 - self);
    std::vector<char> message(static_cast<std::size_t>(work.bytes));
    const auto size = static_cast<ssize_t>(message.size());
    while (loop.goes_on()) {
        if (mine.value.load(std::memory_order_relaxed) == 1) {
            others.since_ns.store(work_loop::now(), std::memory_order_release);
            if (::send(socket, message.data(), message.size(), MSG_NOSIGNAL) != size)
                continue;
            mine.value.store(0, std::memory_order_relaxed);
        }
        if (::recv(socket, message.data(), message.size(), 0) != size)
            continue;
        loop.woken(mine.since_ns.load(std::memory_order_acquire));
        mine.value.store(1, std::memory_order_relaxed);
        loop.count();
    }
}

}  // namespace ktstr::guest
