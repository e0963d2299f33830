// SPDX-License-Identifier: MIT
// The tests of the scheduler in src/: that it runs everybody, by weight, wakes who slept in time, and goes
// in order. All on one machine's shape, so that all are clones of one machine.
#include <ktstr/ktstr.hpp>

#include <algorithm>
#include <thread>
#include <vector>

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;
using clk = std::chrono::steady_clock;

namespace {

// `binary` is the target of the build file; a link or the program itself lies beside the tests.
constexpr scheduler simple{
    .name = "ktstr_simple", .binary = "ktstr_simple", .llcs = 2, .cores = 1, .threads = 1};
/// The same program, as a newer one would be defined.
constexpr scheduler update{.name = "ktstr_simple_update", .binary = "ktstr_simple"};

/// A process that computes, on CPU 0 alone, until it is ended.
class hog {
public:
    explicit hog(int nice) : pid_(::fork()) {
        KTSTR_REQUIRE(pid_ >= 0);
        if (pid_ != 0)
            return;
        cpu_set_t first;
        CPU_ZERO(&first);
        CPU_SET(0, &first);
        if (::sched_setaffinity(0, sizeof first, &first) != 0 ||
            ::setpriority(PRIO_PROCESS, 0, nice) != 0)
            ::_exit(1);
        for (volatile unsigned turns = 0;;)
            turns = turns + 1;
    }

    /// The CPU time that it had.
    std::chrono::microseconds end() const {
        int status = 0;
        rusage used{};
        ::kill(pid_, SIGKILL);
        KTSTR_REQUIRE(::wait4(pid_, &status, 0, &used) == pid_);
        KTSTR_REQUIRE(WIFSIGNALED(status));
        return std::chrono::seconds(used.ru_utime.tv_sec) +
               std::chrono::microseconds(used.ru_utime.tv_usec);
    }

private:
    pid_t pid_;
};

}  // namespace

KTSTR_TEST(everybody_runs, scheduler = simple, duration = 2s) {
    KTSTR_REQUIRE(ctx.scheduler().enabled());
    KTSTR_CHECK(ctx.scheduler().ops_name() == "ktstr_simple");
    const auto result = execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").workers(6)}}});
    KTSTR_CHECK(result.all_completed());
}

// A nice value of 5 is a third of the weight of 0. Three of each: the kernel asks for the next task before the
// one whose slice is over is back in its queue, so two alone take turns, whatever they weigh.
KTSTR_TEST(weight_counts, scheduler = simple, duration = 3s) {
    KTSTR_REQUIRE(ctx.scheduler().enabled());
    const hog heavy[]{hog(0), hog(0), hog(0)}, light[]{hog(5), hog(5), hog(5)};
    std::this_thread::sleep_for(ctx.duration());
    std::chrono::duration<double> more{}, less{};
    for (const hog& one : heavy)
        more += one.end();
    for (const hog& one : light)
        less += one.end();
    const double ratio = more / less;
    ctx.metric("weight_ratio", ratio);
    KTSTR_CHECK(ratio > 1.5 && ratio < 6, "nice 0 had {} times the CPU time of nice 5", ratio);
}

// Who sleeps for 10 ms and wakes is before those who compute all the time: it waits for the end of a slice
// of 20 ms at most, not for a slice of each.
KTSTR_TEST(who_wakes_is_served, scheduler = simple, duration = 2s) {
    KTSTR_REQUIRE(ctx.scheduler().enabled());
    std::vector<clk::duration> late;
    std::thread sleeper([&] {
        for (const auto end = clk::now() + ctx.duration(); clk::now() < end;) {
            const auto due = clk::now() + 10ms;
            std::this_thread::sleep_until(due);
            late.push_back(clk::now() - due);
        }
    });
    const auto result = execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").workers(12)}}});
    sleeper.join();
    KTSTR_CHECK(result.all_completed());
    KTSTR_REQUIRE(late.size() >= 10);
    std::sort(late.begin(), late.end());
    const auto median = std::chrono::duration<double>(late[late.size() / 2]).count();
    ctx.metric("wake_latency_median", median, "s", better::lower);
    KTSTR_CHECK(median < 0.1, "half of the wakes were more than {} s late", median);
}

KTSTR_TEST(it_leaves_in_order, scheduler = simple, duration = 1s) {
    ctx.scheduler().detach();
    const auto end = ctx.scheduler().wait_exit(5s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == scx_exit_kind::unregistered);
    KTSTR_CHECK(!ctx.scheduler().enabled());
    const auto result = execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").workers(4)}}});
    KTSTR_CHECK(result.all_completed());
}

// An update while the load goes on: the newcomer is loaded beside the old one, takes its place, and stays.
KTSTR_TEST(it_is_updated, scheduler = simple, staged = {update}, duration = 1s) {
    const auto gap = ctx.scheduler().replace(update);
    ctx.metric("gap", std::chrono::duration<double>(gap).count(), "s", better::lower);
    const auto result = execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").workers(4)}}});
    KTSTR_CHECK(result.all_completed());
    KTSTR_CHECK(ctx.scheduler().enabled());
}
