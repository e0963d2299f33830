// SPDX-License-Identifier: MIT
// The cells of both programs here: what a machine shows, and every way that a cell can come out.
#include <ktstr/ktstr.hpp>

#include <thread>

KTSTR_TEST(two_cpus, llcs = 1, cores = 2, timeout = 20s) {
    KTSTR_CHECK(std::thread::hardware_concurrency() == 2);
    ctx.metric("cpus", std::thread::hardware_concurrency());
}

KTSTR_TEST(adds_up, host_only) {
    KTSTR_CHECK(2 + 2 == 4);
}

KTSTR_TEST(does_not_add_up, host_only) {
    const int sum = 2 + 2;
    KTSTR_CHECK(sum == 5, "the sum of {} and {}", 2, 2);
}

KTSTR_TEST(is_known_to_fail, host_only, expect_fail) {
    KTSTR_CHECK(2 + 2 == 5);
}

KTSTR_TEST(has_better_things_to_do, host_only) {
    KTSTR_SKIP("not on a day like this");
}
