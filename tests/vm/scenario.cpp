// SPDX-License-Identifier: MIT
// Scenarios in a real guest: cgroups, workers, holds.
#include <ktstr/ktstr.hpp>

#include <chrono>

#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

KTSTR_TEST(workers_run_and_report, cores = 2, duration = 1s) {
    const auto begun = std::chrono::steady_clock::now();
    const auto result =
        execute_steps(ctx, {step{.setup = {ctx.cgroup_def("a").workers(2).work(spin_wait{}),
                                           ctx.cgroup_def("b").workers(1).work(spin_wait{})},
                                 .hold = hold::full},
                            step{.setup = {ctx.cgroup_def("c").workers(1).work(spin_wait{})},
                                 .hold = hold::fixed(500ms)}});
    const auto took = std::chrono::steady_clock::now() - begun;
    KTSTR_REQUIRE(result.steps.size() == 2u);
    KTSTR_CHECK(took >= 1500ms);
    KTSTR_CHECK(result.iterations() > 0);
    // Nothing is left behind.
    KTSTR_CHECK(::access("/sys/fs/cgroup/ktstr/a", F_OK) != 0);
}

KTSTR_TEST(no_step_is_no_work, duration = 1s) {
    KTSTR_CHECK(execute_steps(ctx, {}).steps.empty());
}

KTSTR_TEST(a_mistake_is_the_tests_own, duration = 1s) {
    execute_steps(ctx, {step{.setup = {ctx.cgroup_def("..").workers(1).work(spin_wait{})}}});
}

KTSTR_TEST(seed_and_time_arrive, duration = 3s) {
    KTSTR_CHECK(ctx.seed() == 42u);
    KTSTR_CHECK(ctx.duration() == 3s);
    KTSTR_CHECK(ctx.test_name() == "seed_and_time_arrive");
    KTSTR_CHECK(ctx.dilation() >= 1.0);
}
