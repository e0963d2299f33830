// SPDX-License-Identifier: MIT
// A user's test file. The first test needs no machine and is run; the others are only listed.
#include <ktstr/ktstr.hpp>

using namespace std::chrono_literals;

KTSTR_TEST(sum_on_the_host, host_only, duration = 1s, timeout = 7s,
           tags = {"quick", "arithmetic"}) {
    KTSTR_CHECK(1 + 1 == 2);
}

KTSTR_TEST(large_machine_small_budget, llcs = 2, cores = 4, no_perf_mode, cpu_budget = 1,
           timeout = 60s) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 8);
}

KTSTR_TEST(larger_than_most_hosts, llcs = 8, cores = 14, threads = 2) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 224);
}
