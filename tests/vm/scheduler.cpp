// SPDX-License-Identifier: MIT
// A scheduler's life beside a body, with a stand-in for the scheduler: what is left of sched_ext.cpp where no BPF
// scheduler can be built. Read by scheduler.py.
#include <ktstr/ktstr.hpp>

#include <chrono>
#include <fstream>

#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

constexpr scheduler fake{.name = "fake", .binary = "vm_fake_scheduler"};
constexpr scheduler linked{.name = "linked", .binary = "vm_linked_scheduler"};

void say_that_the_body_runs() {
    std::ofstream("/tmp/body");
}

}  // namespace

KTSTR_TEST(scheduler_stays, scheduler = fake, scheduler_args = {"stays"}, duration = 1s) {
    KTSTR_CHECK(::access("/tmp/sched_ext/state", F_OK) == 0);
}

KTSTR_TEST(no_scheduler_to_ask_for, duration = 1s) {
    const auto said = ctx.scheduler().state();
    KTSTR_REQUIRE(said.has_value());
    KTSTR_CHECK(!said->pid.has_value());
    KTSTR_CHECK(said->state != "enabled");
    KTSTR_CHECK(said->name.empty());
}

KTSTR_TEST(scheduler_stays_and_the_body_fails, scheduler = fake, scheduler_args = {"stays"},
           duration = 1s) {
    KTSTR_CHECK(::access("/tmp/no such file", F_OK) == 0);
}

// It needs libraries that this program does not.
KTSTR_TEST(scheduler_with_libraries, scheduler = linked, scheduler_args = {"stays"},
           duration = 1s) {
    KTSTR_CHECK(::access("/tmp/sched_ext/state", F_OK) == 0);
}

KTSTR_TEST(no_scheduler) {
    KTSTR_CHECK(::access("/ktstr/scheduler", F_OK) != 0);
}

KTSTR_TEST(scheduler_leaves, scheduler = fake, scheduler_args = {"leaves"}, duration = 1s,
           timeout = 30s) {
    say_that_the_body_runs();
    ::pause();  // a body that does not notice
}

// Its process lives on, as that of a scheduler which has not noticed yet.
KTSTR_TEST(scheduler_is_thrown_out, scheduler = fake, scheduler_args = {"is_thrown_out"},
           duration = 1s, timeout = 30s) {
    say_that_the_body_runs();
    while (::access("/tmp/thrown_out", F_OK) != 0)
        ::usleep(1000);
}

KTSTR_TEST(scheduler_never_attaches, scheduler = fake, scheduler_args = {"never_attaches"},
           duration = 1s, timeout = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}

KTSTR_TEST(scheduler_fails_to_start, scheduler = fake, scheduler_args = {"fails"}, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
