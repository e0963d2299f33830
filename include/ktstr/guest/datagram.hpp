// SPDX-License-Identifier: MIT
// What a body's processes and their agent say to each other: one datagram is one message, its type
// first. A message that wants an answer brings a socket of its own for it, so any thread and any forked
// child may ask, an answer reaches nobody but who asked, and one that comes late or twice reaches nobody.
// A request that nobody answers is an error, at once when the agent is gone. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/test/context.hpp>
#include <ktstr/test/scheduler_handle.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::guest {

enum class datagram_type : std::uint16_t {
    // the agent to the process that waits for its body
    become_program = 1,
    begin = 2,
    // a body's reports
    arrived = 32,
    check = 33,
    worker = 34,
    outcome = 35,
    forked_end = 36,
    metric = 37,
    // what a body asks
    ask_scheduler = 64,
    ask_exit = 65,
    ask_deed = 66,
    // what the agent answers
    scheduler = 96,
    refused = 97,
    exit = 98,
    done = 99,
};

/// Become the program of so many bytes on a clone's disk, and wait there.
struct become_program {
    static constexpr auto datagram = datagram_type::become_program;
    std::uint64_t size = 0;
    auto fields(auto& f) { return f(size); }
};

/// The process is the program that its body belongs to.
struct program_arrived {
    static constexpr auto datagram = datagram_type::arrived;
    std::uint64_t guest_ns = 0;  ///< CLOCK_BOOTTIME
    auto fields(auto& f) { return f(guest_ns); }
};

/// How a process that the body forked left the body's function, when it was by an exception. The body has
/// not ended, so this never crosses the link.
struct forked_end {
    static constexpr auto datagram = datagram_type::forked_end;
    wire::outcome end{};
    auto fields(auto& f) { return end.fields(f); }
};

struct ask_scheduler {
    static constexpr auto datagram = datagram_type::ask_scheduler;
    bool unused = false;
    auto fields(auto& f) { return f(unused); }
};

struct scheduler_answer {
    static constexpr auto datagram = datagram_type::scheduler;
    std::string state{}, name{};
    std::optional<bool> partial{};
    std::optional<std::int32_t> pid{};
    auto fields(auto& f) { return f(state, name, partial, pid); }
};

/// Wait for the scheduler's end, so long.
struct ask_exit {
    static constexpr auto datagram = datagram_type::ask_exit;
    std::uint64_t limit_ms = 0;
    auto fields(auto& f) { return f(limit_ms); }
};

struct exit_answer {
    static constexpr auto datagram = datagram_type::exit;
    bool ended = false;  ///< false: not in that time, and the rest says nothing
    std::uint8_t kind = 0;
    std::string reason{}, message{}, dump{};
    std::int64_t code = 0;
    auto fields(auto& f) { return f(ended, kind, reason, message, dump, code); }
};

/// Do something to the scheduler, see scheduler_deed.
struct ask_deed {
    static constexpr auto datagram = datagram_type::ask_deed;
    std::uint8_t deed = 0;
    std::int32_t signal = 0;
    std::string staged{};  ///< the name of the one to do it with; empty: the test's own
    auto fields(auto& f) { return f(deed, signal, staged); }
};

/// Done, or why not.
struct deed_answer {
    static constexpr auto datagram = datagram_type::done;
    std::string fault{};       ///< empty: it is done
    std::uint8_t cause = 0;    ///< scheduler_error::cause
    std::uint64_t gap_ns = 0;  ///< of a replacement: how long none was attached
    auto fields(auto& f) { return f(fault, cause, gap_ns); }
};

/// The answer to a request that can't be answered.
struct refused {
    static constexpr auto datagram = datagram_type::refused;
    std::string why{};
    auto fields(auto& f) { return f(why); }
};

namespace detail {

template <class Message>
inline constexpr datagram_type type_of = Message::datagram;
template <>
inline constexpr datagram_type type_of<wire::run_test> = datagram_type::begin;
template <>
inline constexpr datagram_type type_of<wire::check> = datagram_type::check;
template <>
inline constexpr datagram_type type_of<wire::worker> = datagram_type::worker;
template <>
inline constexpr datagram_type type_of<wire::metric> = datagram_type::metric;
template <>
inline constexpr datagram_type type_of<wire::outcome> = datagram_type::outcome;

/// A message's bytes: u16 type, then the payload.
template <class Message>
[[nodiscard]] std::string to_datagram(const Message& message) {
    std::string bytes;
    wire::detail::put_le(bytes, static_cast<std::uint16_t>(type_of<Message>));
    return bytes += wire::encode(message);
}

}  // namespace detail

/// One message that was received.
struct datagram {
    datagram_type type{};
    std::string_view payload{};
    unique_fd reply{};  ///< where the answer belongs; none: nobody waits for one

    /// The message, when it is one of that type and well formed.
    template <class Message>
    [[nodiscard]] std::optional<Message> as() const {
        return type == detail::type_of<Message> ? wire::decode<Message>(payload) : std::nullopt;
    }
};

enum class received : std::uint8_t {
    message,
    nothing,   ///< not now
    nonsense,  ///< too short to be a message
    closed
};

/// Takes the next message off a socket; its payload lies in `room`. Of the descriptors that came with it
/// at most one is kept, whatever the sender tried.
[[nodiscard]] inline received receive(int fd, std::string& room, datagram& into, int flags = 0) {
    room.resize(wire::max_payload);
    iovec bytes{room.data(), room.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &bytes;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t n = 0;
    do {
        n = ::recvmsg(fd, &header, flags | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    into.reply.reset();
    if (n < 0)
        return errno == EAGAIN ? received::nothing : received::closed;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (std::size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int one = -1;
            std::memcpy(&one, CMSG_DATA(c) + at, sizeof one);
            into.reply.reset(one);
        }
    }
    if (n == 0)
        return received::closed;
    if (n < 2)
        return received::nonsense;
    into.type = static_cast<datagram_type>(wire::detail::get_le<std::uint16_t>(room.data()));
    into.payload = std::string_view(room.data() + 2, static_cast<std::size_t>(n) - 2);
    return received::message;
}

/// Asks the agent behind `agent` and waits for its answer, at most for `limit`.
template <class Answer, class Request>
[[nodiscard]] result<Answer> ask(int agent, const Request& request, const char* about,
                                 std::chrono::milliseconds limit) {
    using clock = std::chrono::steady_clock;
    const auto deadline = clock::now() + limit;
    const auto unanswered = [&](std::string why) {
        return plain_error("ask the agent for", about, std::move(why));
    };
    // False: the time is over.
    const auto wait_for = [&](int fd, short event) {
        for (;;) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                deadline - clock::now() + std::chrono::microseconds(999));
            pollfd p{fd, event, 0};
            const int ready = ::poll(&p, 1, static_cast<int>(std::max<long>(left.count(), 0)));
            if (ready > 0)
                return true;
            if (ready == 0 && left.count() <= 0)
                return false;
        }
    };
    const auto too_late = [&] {
        return unanswered("no answer in " + std::to_string(limit.count()) + " ms");
    };
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return system_error("make a socket for", "a question to the agent");
    const unique_fd ours(ends[0]);
    unique_fd theirs(ends[1]);

    auto bytes = detail::to_datagram(request);
    iovec io{bytes.data(), bytes.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &io;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &ends[1], sizeof(int));
    while (::sendmsg(agent, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno != EINTR && errno != EAGAIN)
            return system_error("ask the agent for", about);
        if (errno == EAGAIN && !wait_for(agent, POLLOUT))
            return too_late();
    }
    // From here on the agent alone holds that end: when it lets go of it, nobody will answer.
    theirs.reset();
    if (!wait_for(ours.get(), POLLIN))
        return too_late();
    std::string room;
    datagram got;
    switch (receive(ours.get(), room, got, MSG_DONTWAIT)) {
        case received::message:
            if (auto answer = got.as<Answer>())
                return *std::move(answer);
            if (const auto no = got.as<refused>())
                return unanswered(no->why);
            return unanswered("its answer is malformed");
        case received::nonsense:
            return unanswered("its answer is malformed");
        default:
            return unanswered("it is gone");
    }
}

/// The agent's answer to a request. `agent` has a function for each; what it does not know is refused.
template <class Agent>
[[nodiscard]] std::string answer_to(const datagram& asked, const Agent& agent) {
    if (asked.as<ask_scheduler>())
        return detail::to_datagram(agent.scheduler_facts());
    const auto number = std::to_string(static_cast<unsigned>(asked.type));
    return detail::to_datagram(
        refused{asked.type >= datagram_type::ask_scheduler && asked.type <= datagram_type::ask_deed
                    ? "the request is malformed"
                    : "it knows no request of type " + number +
                          "; the agent and the test program are of two versions"});
}

/// Gives an answer to who asked. One who waits no longer has lost nothing, and nobody can make the agent wait.
inline void reply(const datagram& asked, const std::string& bytes) {
    (void)::send(asked.reply.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace ktstr::guest
