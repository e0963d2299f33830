// SPDX-License-Identifier: MIT
// Rest of a template: counted by the kernel, and whoever disturbs it is named.
#include <ktstr/guest/rest_watch.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace ktstr::guest;

TEST_CASE("the kernel's count of runnable tasks is read, or nothing is known", "[rest]") {
    CHECK(runnable_tasks("0.20 0.18 0.12 1/80 11206\n") == 1);
    CHECK(runnable_tasks("12.20 0.18 0.12 17/4080 11206\n") == 17);
    for (const char* text : {"", "\n", "0.20", "0.20 0.18 0.12 ", "0.20 0.18 0.12 x/80 1",
                             "0.20 0.18 0.12 3", "0.20 0.18 0.12 -1/80 1", "1/80", "   "})
        CHECK_FALSE(runnable_tasks(text));
}

TEST_CASE("a task that wants a CPU counts, and is named", "[rest]") {
    const pid_t busy = ::fork();
    if (busy == 0)
        for (;;) {
        }
    REQUIRE(busy > 0);
    // The harness and the busy one.
    const auto text = read_kernel_file("/proc/loadavg");
    REQUIRE(text);
    CHECK(runnable_tasks(*text).value_or(0) >= 2);
    const auto mark = std::to_string(busy) + " (";
    CHECK(busy_tasks().find(mark) != std::string::npos);
    ::kill(busy, SIGKILL);
    ::waitpid(busy, nullptr, 0);
    CHECK(busy_tasks().find(mark) == std::string::npos);
    CHECK(busy_tasks().find(std::to_string(::getpid()) + " (") == std::string::npos);
}

TEST_CASE("a machine rests when nobody wanted a CPU for some looks in a row", "[rest]") {
    rest_watch quiet, disturbed, busy;
    for (int i = 0; i < 4; ++i)
        CHECK_FALSE(quiet.saw(1));
    CHECK(quiet.saw(1));

    for (const int runnable : {1, 1, 1, 1, 2, 1, 1, 1, 1})
        CHECK_FALSE(disturbed.saw(runnable));
    CHECK(disturbed.saw(1));

    int looks = 1;
    while (!busy.saw(2))
        ++looks;
    CHECK(looks == 150);
}
