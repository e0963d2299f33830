// SPDX-License-Identifier: MIT
// The readers of /proc/stat and /proc/vmstat: the right number, and nothing instead of a zero.
#include <ktstr/guest/probe/steal.hpp>

#include <catch2/catch_test_macros.hpp>

#include "fake_files.hpp"

using namespace ktstr::guest;
using ktstr::guest::testing::scratch_directory;

TEST_CASE("steal is the eighth value of the first line", "[guest][steal]") {
    const scratch_directory files;
    CHECK(read_steal_ticks(files.write("stat",
                                       "cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 2 3 4 5 6 7 8 9 "
                                       "10\n")) == 88U);
    CHECK(read_steal_ticks(files.write("big", "cpu  1 2 3 4 5 6 7 18446744073709551615\n")) ==
          18446744073709551615U);
}

TEST_CASE("steal that is not there is nothing, never zero", "[guest][steal]") {
    const scratch_directory files;
    CHECK_FALSE(read_steal_ticks(files.path() / "missing"));
    CHECK_FALSE(
        read_steal_ticks(files.write("short", "cpu  1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7 8\n")));
    CHECK_FALSE(read_steal_ticks(files.write("other", "intr 1 2 3 4 5 6 7 8\n")));
    CHECK_FALSE(read_steal_ticks(files.write("empty", "")));
}

TEST_CASE("kills for memory are counted by their own line", "[guest][steal]") {
    const scratch_directory files;
    CHECK(read_oom_kills(files.write("a", "pgfault 5\noom_kill 3\nnuma_hit 4\n")) == 3U);
    CHECK(read_oom_kills(files.write("b", "oom_kill 12\n")) == 12U);
    CHECK_FALSE(read_oom_kills(files.write("c", "pgfault 5\nnot_oom_kill 3\n")));
    CHECK_FALSE(read_oom_kills(files.write("d", "pgfault 5\noom_kill x\n")));
    CHECK_FALSE(read_oom_kills(files.path() / "missing"));
}

TEST_CASE("this machine has the counters", "[guest][steal]") {
    CHECK(read_steal_ticks());
    CHECK(read_oom_kills());
    CHECK(clock_ticks_per_second() > 0);
}
