// SPDX-License-Identifier: MIT
#include <ktstr/host/machine/next_machine.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <future>
#include <optional>
#include <thread>

using ktstr::host::tests_under_way;

TEST_CASE("a machine is started ahead only while no other test is under way", "[run]") {
    tests_under_way all;
    int started = 0;
    const auto start = [&] { ++started; };
    const tests_under_way::one mine(all);
    all.if_alone(start);
    CHECK(started == 1);
    {
        const tests_under_way::one other(all);
        all.if_alone(start);
        CHECK(started == 1);
    }
    all.if_alone(start);
    CHECK(started == 2);
    all.if_alone({});
}

TEST_CASE("no test begins while a machine is started ahead", "[run]") {
    tests_under_way all;
    const tests_under_way::one mine(all);
    std::atomic<bool> begun{false};
    std::promise<void> about_to;
    std::jthread other;
    all.if_alone([&] {
        other = std::jthread([&] {
            about_to.set_value();
            const tests_under_way::one one(all);
            begun = true;
        });
        about_to.get_future().wait();
        for (int i = 0; i < 1000; ++i)
            std::this_thread::yield();
        CHECK_FALSE(begun);
    });
    other.join();
    CHECK(begun);
}
