// SPDX-License-Identifier: MIT
// Scenarios in a real guest: cgroups, workers, holds.
#include <ktstr/ktstr.hpp>

#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

/// Kills `wanted` of this body's workers, as soon as they are there, in a way that looks like a crash.
/// Ahead of the workers themselves: their step does not wait for it.
void crash_workers(std::size_t wanted) {
    const sched_param lowest{1};
    ::sched_setscheduler(0, SCHED_FIFO, &lowest);
    const auto end = std::chrono::steady_clock::now() + 60s;
    // One that was struck may take a while to die.
    for (std::set<std::string> struck;
         struck.size() < wanted && std::chrono::steady_clock::now() < end;) {
        DIR* const all = ::opendir("/proc");
        while (const dirent* entry = ::readdir(all)) {
            std::ifstream stat("/proc/" + std::string(entry->d_name) + "/stat");
            std::string pid, comm, state;
            int parent = 0;
            if (struck.size() < wanted && stat >> pid >> comm >> state >> parent &&
                comm == "(ktstr-worker)" && parent == ::getpid() && !struck.contains(pid) &&
                ::kill(std::stoi(pid), SIGSEGV) == 0)
                struck.insert(pid);
        }
        ::closedir(all);
        std::this_thread::yield();
    }
}

scenario_result run_and_crash(context& ctx, std::size_t wanted, cgroup_def def) {
    std::thread killer(crash_workers, wanted);
    auto result = execute_steps(ctx, {step{.setup = {std::move(def)}}});
    killer.join();
    return result;
}

}  // namespace

KTSTR_TEST(workers_run_and_report, cores = 2, duration = 1s) {
    const auto begun = std::chrono::steady_clock::now();
    const auto result =
        execute_steps(ctx, {step{.setup = {ctx.cgroup_def("a").workers(2).work(spin_wait{}),
                                           ctx.cgroup_def("b").workers(1).work(spin_wait{})},
                                 .hold = hold::full},
                            step{.setup = {ctx.cgroup_def("c").workers(1).work(spin_wait{})},
                                 .hold = hold::fixed(500ms)}});
    const auto took = std::chrono::steady_clock::now() - begun;
    KTSTR_REQUIRE(result.steps.size() == 2);
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
    KTSTR_CHECK(ctx.seed() == 42);
    KTSTR_CHECK(ctx.duration() == 3s);
    KTSTR_CHECK(ctx.test_name() == "seed_and_time_arrive");
    KTSTR_CHECK(ctx.dilation() >= 1.0);
}

// What the body makes of its workers is one thing; that they died is the test's failure anyway.
KTSTR_TEST(a_worker_crashes, cores = 2, duration = 1s) {
    const auto result = run_and_crash(ctx, 1, ctx.cgroup_def("victim").workers(3));
    KTSTR_CHECK(result.completed_workers() == 2);
}

KTSTR_TEST(every_worker_crashes, cores = 2, duration = 1s) {
    run_and_crash(ctx, 2, ctx.cgroup_def("victim").workers(2));
}

KTSTR_TEST(a_skip_hides_no_crash, cores = 2, duration = 1s) {
    run_and_crash(ctx, 1, ctx.cgroup_def("victim").workers(1));
    KTSTR_SKIP("not today");
}

KTSTR_TEST(a_failed_check_says_more_than_a_crash, cores = 2, duration = 1s) {
    KTSTR_CHECK(run_and_crash(ctx, 1, ctx.cgroup_def("victim").workers(1)).all_completed());
}

KTSTR_TEST(a_crash_is_what_is_tested, cores = 2, duration = 1s) {
    const auto result =
        run_and_crash(ctx, 1, ctx.cgroup_def("victim").workers(1).workers_may_fail());
    KTSTR_CHECK(!result.all_completed());
}

// Only a failed check is what a test can expect; a worker that died is not.
KTSTR_TEST(a_crash_is_never_expected, cores = 2, duration = 1s, expect_fail) {
    run_and_crash(ctx, 1, ctx.cgroup_def("victim").workers(1));
}

// One CPU, and the thread that conducts the scenario is above its workers: it tells them to stop
// before they had any of it.
KTSTR_TEST(workers_never_turn, cores = 1, duration = 1s) {
    const auto result = execute_steps(
        ctx, {step{.setup = {ctx.cgroup_def("idle").workers(2)}, .hold = hold::fixed(1ns)}});
    KTSTR_CHECK(result.all_completed());
}

KTSTR_TEST(workers_without_any_time_need_not_turn, cores = 1, duration = 1s) {
    const auto result = execute_steps(
        ctx, {step{.setup = {ctx.cgroup_def("idle").workers(2)}, .hold = hold::fixed(0s)}});
    KTSTR_CHECK(result.all_completed());
}

KTSTR_TEST(on_the_host_workers_run, host_only, duration = 500ms) {
    KTSTR_CHECK(execute_steps(ctx, {step{.setup = {ctx.cgroup_def("load")}}}).all_completed());
}

KTSTR_TEST(on_the_host_a_worker_crashes, host_only, duration = 500ms) {
    run_and_crash(ctx, 1, ctx.cgroup_def("victim").workers(1));
}
