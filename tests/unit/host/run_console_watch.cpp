// SPDX-License-Identifier: MIT
#include <ktstr/host/run/console_watch.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace ktstr;
using namespace ktstr::host;

TEST_CASE("a kernel's own words about its end are recognised", "[console]") {
    CHECK(sign_of("[   10.1] Kernel panic - not syncing: sysrq triggered crash") == reason::panic);
    CHECK(sign_of("[   10.1][    T1] Oops: 0002 [#1] PREEMPT SMP") == reason::oops);
    CHECK(sign_of("[    1.0] BUG: unable to handle page fault for address: 0") == reason::oops);
    CHECK(sign_of("[   30.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]") ==
          reason::lockup);
    CHECK(sign_of("[   30.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:") ==
          reason::lockup);
}

TEST_CASE("ordinary lines are no sign", "[console]") {
    CHECK_FALSE(sign_of("[    0.1] mtrr: your CPUs had inconsistent fixed MTRR settings"));
    CHECK_FALSE(sign_of("[    0.1] rcu: Hierarchical RCU implementation."));
    CHECK_FALSE(sign_of("a test printed: Kernel panic - not syncing"));
    CHECK_FALSE(sign_of(""));
    CHECK_FALSE(sign_of("[ no end"));
}

TEST_CASE("the worst sign counts, whatever comes later", "[console]") {
    console_watch watch;
    watch.feed("[ 1.0] watchdog: BUG: soft lockup - CPU#1\n");
    CHECK(watch.sign() == reason::lockup);
    watch.feed("[ 2.0] Oops: 0002 [#1]\n[ 3.0] rcu: INFO: rcu_sched self-detected stall\n");
    CHECK(watch.sign() == reason::oops);
    CHECK(watch.sign_line() == "[ 2.0] Oops: 0002 [#1]");
}

TEST_CASE("lines may arrive in pieces", "[console]") {
    console_watch watch;
    watch.feed("[ 1.0] Kernel pa");
    CHECK_FALSE(watch.sign());
    watch.feed("nic - not syncing: x\r\nktstr-guest: cannot open the li");
    CHECK(watch.sign() == reason::panic);
    watch.feed("nk\n");
    CHECK(watch.harness_line() == "cannot open the link");
}

TEST_CASE("the tail is the last lines, oldest first", "[console]") {
    console_watch watch;
    watch.feed("a\r\nb\nc");
    CHECK(watch.tail(2) == std::vector<std::string>{"b", "c"});
    CHECK(watch.tail(9) == std::vector<std::string>{"a", "b", "c"});
    CHECK(console_watch().tail(3).empty());
}

TEST_CASE("a console without end is bounded", "[console]") {
    console_watch watch;
    const std::string block(1U << 20, 'x');
    for (int i = 0; i < 20; ++i)
        watch.feed(block);
    CHECK(watch.text().size() == console_watch::limit);
    CHECK(watch.dropped() == (std::size_t{20} << 20) - console_watch::limit);
    watch.feed("\n[ 1.0] Kernel panic - not syncing: late\n");
    CHECK(watch.sign() == reason::panic);
}
