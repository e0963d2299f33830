// SPDX-License-Identifier: MIT
// Tests with several cells: schedulers, topologies, and kernels as the run says. Read by cells.py.
#include <ktstr/ktstr.hpp>

#include <cstdio>

#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

constexpr scheduler fake{.name = "fake", .binary = "vm_fake_scheduler", .args = {"stays"}};

}  // namespace

KTSTR_TEST(same_work, schedulers = {fake, eevdf}, topologies = {"1n1l2c1t", "1n2l1c1t"},
           duration = 1s) {
    KTSTR_CHECK(ctx.test_name() == "same_work");
    // The only trace that both kinds of scheduler leave or do not.
    std::printf("a machine of %s under %s\n", to_text(ctx.topology()).str().c_str(),
                ::access("/tmp/sched_ext/state", F_OK) == 0 ? "fake" : "eevdf");
}

// Not in all of its cells.
KTSTR_TEST(one_fails, topologies = {"1n1l2c1t", "1n2l1c1t"}, duration = 1s) {
    KTSTR_CHECK(ctx.topology().num_llcs() == 1);
}

KTSTR_TEST(one_is_skipped, schedulers = {fake, eevdf}, requires_kvm, cores = 1, duration = 1s) {
    KTSTR_FAIL("this ran");
}

KTSTR_TEST(alone, cores = 2, duration = 1s, tags = {"alone"}) {
    std::printf("one cell\n");
}

KTSTR_TEST(outside, host_only, duration = 1s) {
    std::printf("no machine\n");
}
