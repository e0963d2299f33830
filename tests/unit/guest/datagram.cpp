// SPDX-License-Identifier: MIT
// Questions of a body's processes to their agent: answered once, or an error in time.
#include <ktstr/guest/datagram.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace ktstr::guest;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 20s;  // far more than an answer takes anywhere

struct knows {
    std::int32_t pid = 4;
    [[nodiscard]] scheduler_answer scheduler_facts() const {
        return {.state = "enabled", .name = "fake", .pid = pid};
    }
};

/// A body's end and an agent's, whose deeds are the test's, in a thread.
class pair {
public:
    explicit pair(std::function<void(datagram&)> agent)
        : pair(std::move(agent), [](const pair&) {}) {}

    /// `before` is called while this process has no other thread: a child that is forked later may find
    /// the sanitizer's allocator locked, for ever, by a thread that it does not have.
    pair(std::function<void(datagram&)> agent, const std::function<void(const pair&)>& before) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        body_ = unique_fd(ends[0]);
        agent_ = unique_fd(ends[1]);
        before(*this);
        thread_ = std::thread([this, deed = std::move(agent)] {
            std::string room;
            for (;;) {
                datagram got;
                const auto what = receive(agent_.get(), room, got);
                if (what == received::closed)
                    return;
                if (what == received::message)
                    deed(got);
            }
        });
    }
    ~pair() {
        ::shutdown(body_.get(), SHUT_RDWR);
        thread_.join();
    }
    [[nodiscard]] int fd() const { return body_.get(); }
    [[nodiscard]] result<scheduler_answer> ask(std::chrono::milliseconds limit = patience) const {
        return guest::ask<scheduler_answer>(fd(), ask_scheduler{}, "a scheduler", limit);
    }

private:
    unique_fd body_, agent_;
    std::thread thread_;
};

[[nodiscard]] int open_descriptors() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd)
        n += ::fcntl(fd, F_GETFD) >= 0;
    return n;
}

struct unheard_of {
    static constexpr auto datagram = static_cast<datagram_type>(4711);
    bool unused = false;
    auto fields(auto& f) { return f(unused); }
};

}  // namespace

TEST_CASE("a question is answered", "[datagram]") {
    const pair p([](datagram& asked) { reply(asked, answer_to(asked, knows{})); });
    const auto before = open_descriptors();
    for (int i = 0; i < 50; ++i) {
        const auto said = p.ask();
        REQUIRE(said);
        CHECK(said->state == "enabled");
        CHECK(said->name == "fake");
        CHECK(said->pid == 4);
    }
    CHECK(open_descriptors() <= before + 1);  // the agent's of the last one
}

TEST_CASE("a question that is lost is an error in its time", "[datagram]") {
    std::vector<unique_fd> kept;
    const pair p([&kept](datagram& asked) { kept.push_back(std::move(asked.reply)); });
    const auto begin = std::chrono::steady_clock::now();
    const auto said = p.ask(50ms);
    CHECK(std::chrono::steady_clock::now() - begin >= 50ms);
    REQUIRE_FALSE(said);
    CHECK(said.error().message().find("no answer in 50 ms") != std::string::npos);
}

TEST_CASE("nobody waits for an agent that is gone or lets go of the question", "[datagram]") {
    const pair lets_go([](datagram& asked) { asked.reply.reset(); });
    const auto said = lets_go.ask();
    REQUIRE_FALSE(said);
    CHECK(said.error().message().find("it is gone") != std::string::npos);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    const unique_fd body(ends[0]);
    ::close(ends[1]);
    CHECK_FALSE(ask<scheduler_answer>(body.get(), ask_scheduler{}, "a scheduler", patience));
    CHECK_FALSE(ask<scheduler_answer>(-1, ask_scheduler{}, "a scheduler", patience));
}

TEST_CASE("an agent that reads nothing can't hold a body either", "[datagram]") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    const unique_fd body(ends[0]), agent(ends[1]);
    const std::string report(4096, 'x');
    while (::send(body.get(), report.data(), report.size(), MSG_DONTWAIT) > 0) {
    }
    const auto said = ask<scheduler_answer>(body.get(), ask_scheduler{}, "a scheduler", 20ms);
    REQUIRE_FALSE(said);
    CHECK(said.error().message().find("no answer in 20 ms") != std::string::npos);
}

TEST_CASE("a late and a second answer reach nobody", "[datagram]") {
    std::int32_t number = 0;
    std::vector<unique_fd> late;
    const pair p([&](datagram& asked) {
        if (late.empty()) {
            late.push_back(std::move(asked.reply));
            return;
        }
        const datagram first{.reply = std::move(late.front())};
        late.front() = unique_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
        reply(first, guest::detail::to_datagram(scheduler_answer{.pid = 1000}));
        ++number;
        for (int twice : {0, 1})
            reply(asked,
                  guest::detail::to_datagram(scheduler_answer{.pid = number + 2000 * twice}));
    });
    CHECK_FALSE(p.ask(10ms));
    for (std::int32_t expected : {1, 2, 3}) {
        const auto said = p.ask();
        REQUIRE(said);
        CHECK(said->pid == expected);
    }
}

TEST_CASE("a malformed answer is an error", "[datagram]") {
    const auto good = guest::detail::to_datagram(scheduler_answer{.state = "enabled", .pid = 4});
    std::string wrong_type = good;
    wrong_type[0] = static_cast<char>(datagram_type::ask_scheduler);
    for (const auto& bytes : {std::string("x"), good.substr(0, 2), good.substr(0, good.size() - 1),
                              good + 'x', wrong_type, std::string(4000, '\xff')}) {
        const pair p([&bytes](datagram& asked) { reply(asked, bytes); });
        const auto said = p.ask();
        REQUIRE_FALSE(said);
        CHECK(said.error().message().find("malformed") != std::string::npos);
    }
}

TEST_CASE("an unknown and a malformed question are refused in words", "[datagram]") {
    const pair p([](datagram& asked) { reply(asked, answer_to(asked, knows{})); });
    const auto said = ask<scheduler_answer>(p.fd(), unheard_of{}, "something", patience);
    REQUIRE_FALSE(said);
    CHECK(said.error().message().find("no request of type 4711") != std::string::npos);
    const datagram malformed{.type = datagram_type::ask_scheduler, .payload = "too long"};
    const auto answer = answer_to(malformed, knows{});
    CHECK(answer.find("the request is malformed") != std::string::npos);
}

TEST_CASE("many may ask at once, threads and forked children, and each gets its own answer",
          "[datagram]") {
    std::atomic<std::int32_t> asked_for{0};
    std::vector<pid_t> children;
    const pair p([&](datagram& asked) { reply(asked, answer_to(asked, knows{++asked_for})); },
                 [&](const pair& asking) {
                     for (int i = 0; i < 4; ++i) {
                         const pid_t child = ::fork();
                         if (child == 0) {
                             int answered = 0;
                             while (answered < 100 && asking.ask())
                                 ++answered;
                             ::_exit(answered == 100 ? 0 : 1);
                         }
                         REQUIRE(child > 0);
                         children.push_back(child);
                     }
                 });
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            std::int32_t last = 0;
            for (int n = 0; n < 100; ++n)
                if (const auto said = p.ask(); said && said->pid && *said->pid > last) {
                    last = *said->pid;
                    ++answered;
                }
        });
    for (auto& thread : threads)
        thread.join();
    CHECK(answered == 400);
    for (const pid_t child : children) {
        int status = -1;
        ::waitpid(child, &status, 0);
        CHECK(status == 0);
    }
    CHECK(asked_for == 800);
}

TEST_CASE("of many descriptors in one message one is kept, and none leaks", "[datagram]") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    const unique_fd from(ends[0]), to(ends[1]);
    const auto before = open_descriptors();
    for (const std::size_t count : {1U, 2U, 3U, 50U}) {
        std::string bytes = guest::detail::to_datagram(ask_scheduler{});
        const std::vector<int> many(count, 0);
        std::vector<char> control(CMSG_SPACE(count * sizeof(int)));
        iovec io{bytes.data(), bytes.size()};
        msghdr header{};
        header.msg_iov = &io;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        std::memcpy(CMSG_DATA(rights), many.data(), count * sizeof(int));
        REQUIRE(::sendmsg(from.get(), &header, 0) > 0);
        std::string room;
        datagram got;
        REQUIRE(receive(to.get(), room, got) == received::message);
        CHECK(got.reply);
        got.reply.reset();
        CHECK(open_descriptors() == before);
    }
}

TEST_CASE("what is no message is none", "[datagram]") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    const unique_fd from(ends[0]), to(ends[1]);
    std::string room;
    datagram got;
    CHECK(receive(to.get(), room, got, MSG_DONTWAIT) == received::nothing);
    REQUIRE(::send(from.get(), "x", 1, 0) == 1);
    CHECK(receive(to.get(), room, got) == received::nonsense);
    ::shutdown(from.get(), SHUT_RDWR);
    CHECK(receive(to.get(), room, got) == received::closed);
}
