// SPDX-License-Identifier: MIT
// What `ktstr smoke` runs under each scheduler: a load that computes, wakes, hands over and forks all at
// once. Guest side; the command itself is smoke_command.cpp.
#include <ktstr/ktstr.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using clk = std::chrono::steady_clock;

// Which program that is, the command says by KTSTR_SCHEDULER_SMOKE.
constexpr ktstr::scheduler under_test{.name = "smoke", .binary = "ktstr-smoke-scheduler"};

/// Turns a byte between two threads until `end`; how often it came back.
std::uint64_t hand_over(clk::time_point end) {
    int there[2], back[2];
    KTSTR_REQUIRE(::pipe(there) == 0);
    KTSTR_REQUIRE(::pipe(back) == 0);
    std::thread other([&] {
        for (char byte; ::read(there[0], &byte, 1) == 1;)
            if (::write(back[1], &byte, 1) != 1)
                return;
    });
    std::uint64_t turns = 0;
    for (char byte = 0; clk::now() < end; ++turns)
        if (::write(there[1], &byte, 1) != 1 || ::read(back[0], &byte, 1) != 1)
            break;
    ::close(there[1]);
    other.join();
    for (const int fd : {there[0], back[0], back[1]})
        ::close(fd);
    return turns;
}

void mixed_load(ktstr::context& ctx, bool has_scheduler) {
    if (has_scheduler)
        KTSTR_REQUIRE(ctx.scheduler().enabled());
    const auto cpus = static_cast<int>(std::thread::hardware_concurrency());
    const auto end = clk::now() + ctx.duration();
    std::atomic<std::uint64_t> wakes{0}, forks{0}, turns{0};
    std::thread sleeper([&] {
        for (; clk::now() < end; ++wakes)
            std::this_thread::sleep_for(2ms);
    });
    std::thread pair([&] { turns = hand_over(end); });
    std::thread parent([&] {
        while (clk::now() < end) {
            const pid_t child = ::fork();
            if (child == 0)
                ::_exit(0);
            int status = 0;
            if (child > 0 && ::waitpid(child, &status, 0) == child && status == 0)
                ++forks;
        }
    });
    const auto result =
        ktstr::execute_steps(ctx, {{.setup = {ctx.cgroup_def("smoke").workers(2 * cpus)}}});
    for (auto* const one : {&sleeper, &pair, &parent})
        one->join();
    KTSTR_CHECK(result.all_completed());
    KTSTR_CHECK(wakes.load() > 0u, "a thread that sleeps for 2 ms never woke");
    KTSTR_CHECK(turns.load() > 0u, "two threads never handed a byte over");
    KTSTR_CHECK(forks.load() > 0u, "no forked process came to its end");
    ctx.metric("wakes", static_cast<double>(wakes.load()), "", ktstr::better::higher);
    ctx.metric("hand_overs", static_cast<double>(turns.load()), "", ktstr::better::higher);
    ctx.metric("forks", static_cast<double>(forks.load()), "", ktstr::better::higher);
    if (has_scheduler)
        KTSTR_CHECK(ctx.scheduler().enabled());
}

}  // namespace

#define KTSTR_SMOKE(length)                                                 \
    KTSTR_TEST(smoke_##length, scheduler = under_test, duration = length) { \
        mixed_load(ctx, true);                                              \
    }                                                                       \
    KTSTR_TEST(smoke_eevdf_##length, duration = length) {                   \
        mixed_load(ctx, false);                                             \
    }
KTSTR_SMOKE(1s)
KTSTR_SMOKE(3s)
KTSTR_SMOKE(10s)
KTSTR_SMOKE(60s)
#undef KTSTR_SMOKE
