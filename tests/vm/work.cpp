// SPDX-License-Identifier: MIT
// Every kind of work in a guest, each beside the kernel's counter or event that it is for, and beside one that it must not
// cause. The test of a kind bears its name: docs/reference.md names it.
#include <ktstr/ktstr.hpp>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "event_counter.hpp"

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

/// One cgroup "load" with this work for all of the test's duration.
cgroup_report load(context& ctx, work_kind kind, int workers = 0) {
    auto def = ctx.cgroup_def("load").work(kind);
    if (workers != 0)
        def.workers(workers);
    return *execute_steps(ctx, {{.setup = {def}}}).steps[0].cgroup("load");
}

/// Wake-ups in process context: flags say whether the waker announced that it is about to sleep.
constexpr const char* wakes = "try_to_wake_up flags=$arg3:u32";
const std::string with_sync = by_a_worker + " && flags & 0x10";
const std::string without_sync = by_a_worker + " && !(flags & 0x10)";

}  // namespace

KTSTR_TEST(spin_wait, cores = 2, duration = 500ms) {
    const event_counter calls("raw_syscalls/sys_enter", by_a_worker);
    const auto seen = load(ctx, work::spin_wait{}).account();
    KTSTR_CHECK(seen.iterations > 1000);
    // Before the gate and after the end; none in between.
    KTSTR_CHECK(calls.count() < 200);
    KTSTR_CHECK(seen.iteration_time.count() == seen.iterations);
    KTSTR_CHECK(seen.wake_latency.empty());
}

KTSTR_TEST(yield_heavy, cores = 2, duration = 500ms) {
    const event_counter yields("syscalls/sys_enter_sched_yield", by_a_worker);
    const auto seen = load(ctx, work::yield_heavy{}).account();
    KTSTR_CHECK(seen.iterations > 100);
    KTSTR_CHECK(yields.count() == seen.iterations);
}

KTSTR_TEST(mixed, cores = 2, duration = 500ms) {
    const event_counter yields("syscalls/sys_enter_sched_yield", by_a_worker);
    const auto seen = load(ctx, work::mixed{.spins = 20'000}).account();
    KTSTR_CHECK(seen.iterations > 10);
    KTSTR_CHECK(yields.count() == seen.iterations);
}

KTSTR_TEST(bursty, cores = 2, duration = 1s) {
    const event_counter sleeps("sched/sched_switch",
                               "prev_comm == \"ktstr-worker\" && prev_state & 1");
    const auto seen = load(ctx, work::bursty{.burst = 10ms, .sleep = 40ms}).account();
    KTSTR_CHECK(seen.iterations > 4);
    KTSTR_CHECK(sleeps.count() >= seen.iterations);
    KTSTR_CHECK(seen.voluntary_switches >= static_cast<double>(seen.iterations));
    KTSTR_CHECK(seen.wake_latency.count() + 2 >= seen.iterations);
    KTSTR_CHECK(seen.wake_latency.max() > 0ns);
    // A fifth of the time; nothing makes it more than the half.
    KTSTR_CHECK(seen.cpu_time < seen.wall_time / 2);
}

KTSTR_TEST(pipe_io, cores = 2, duration = 500ms) {
    const auto sync = event_counter::of_function("sync", wakes, with_sync);
    const auto report = load(ctx, work::pipe_io{});
    const auto seen = report.account();
    KTSTR_CHECK(report.worker_count() == 2);
    KTSTR_CHECK(seen.iterations > 20);
    KTSTR_CHECK(seen.wake_latency.count() == seen.iterations);
    // A partner that had no time to fall asleep is not woken: on two CPUs the most are.
    KTSTR_CHECK(sync.count() > seen.iterations / 4, "{} of {}", sync.count(), seen.iterations);
    // One is never more than a byte ahead of the other.
    const auto a = report.workers()[0].iterations, b = report.workers()[1].iterations;
    KTSTR_CHECK(std::max(a, b) - std::min(a, b) <= 1);
}

KTSTR_TEST(custom, cores = 2, duration = 500ms) {
    const event_counter sleeps("syscalls/sys_enter_nanosleep", by_a_worker);
    const timespec pause{0, 2'000'000};
    const auto seen =
        load(ctx,
             work::custom{.run =
                              [](work::worker& self) {
                                  while (self.goes_on()) {
                                      ::syscall(SYS_nanosleep, &self.data<timespec>(), nullptr);
                                      self.wake_latency(1ms);
                                      self.deadline(self.index() == 0);
                                      self.count();
                                  }
                              },
                          .data = &pause},
             2)
            .account();
    KTSTR_CHECK(seen.iterations > 10);
    KTSTR_CHECK(sleeps.count() == seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() == seen.iterations);
    KTSTR_CHECK(seen.wake_latency.max() == 1ms);
    KTSTR_CHECK(seen.deadlines == seen.iterations);
    KTSTR_CHECK((seen.missed_deadlines > 0 && seen.missed_deadlines < seen.deadlines));
}

// Every phase does its own work and nothing of the others', again in each round.
KTSTR_TEST(sequence, cores = 2, duration = 1s) {
    const event_counter yields("syscalls/sys_enter_sched_yield", by_a_worker);
    const auto report = *execute_steps(ctx, {{.setup = {ctx.cgroup_def("load").work(work::sequence{{
                                                  {work::spin_wait{}, 60ms},
                                                  {work::yield_heavy{}, 40ms},
                                                  {work::pipe_io{}, 100ms},
                                              }})}}})
                             .steps[0]
                             .cgroup("load");
    const auto spin = report.phase(0), yield = report.phase(1), pipe = report.phase(2);
    KTSTR_CHECK(report.workers()[0].phases.size() == 3);
    KTSTR_CHECK(spin.iterations > 100);
    KTSTR_CHECK(yield.iterations > 10);
    KTSTR_CHECK(pipe.iterations > 10);
    KTSTR_CHECK(yields.count() == yield.iterations);
    KTSTR_CHECK(spin.wake_latency.empty());
    KTSTR_CHECK(pipe.wake_latency.count() == pipe.iterations);
    KTSTR_CHECK(pipe.voluntary_switches > spin.voluntary_switches);
    KTSTR_CHECK(report.iterations() == spin.iterations + yield.iterations + pipe.iterations);
    for (const auto& phase : {spin, yield, pipe})
        KTSTR_CHECK(phase.wall_time > 0ns);
    // The phases' shares of the round, and all of the time.
    KTSTR_CHECK(pipe.wall_time > yield.wall_time);
    KTSTR_CHECK(report.account().wall_time >= 2 * ctx.duration());
}

// What is told of the workers together is what the kernel counts for their cgroup, within a tick of 4 ms for each.
KTSTR_TEST(telemetry_is_the_kernels, cores = 2, duration = 400ms) {
    std::vector<work_kind> kinds{work::spin_wait{}, work::yield_heavy{}, work::mixed{},
                                 work::pipe_io{}, work::bursty{.burst = 10ms, .sleep = 20ms}};
    for (const auto& kind : kinds) {
        const auto report = load(ctx, kind);
        const auto seen = report.account();
        KTSTR_INFO("{}", to_text(kind.id()));
        const auto difference = report.kernel_cpu_time() - seen.cpu_time;
        KTSTR_CHECK(difference > -4ms * report.worker_count());
        KTSTR_CHECK(difference < 4ms * report.worker_count());
        KTSTR_CHECK(seen.run_delay >= 0ns);
        KTSTR_CHECK(seen.migrations >= 0);
        KTSTR_CHECK(seen.voluntary_switches >= 0);
        KTSTR_CHECK(seen.involuntary_switches >= 0);
        KTSTR_CHECK((!seen.cpus.empty() && ctx.topology().all_cpus().contains(seen.cpus)));
    }
}

namespace {

/// What /proc/self/schedstat said in a worker's first and last turn.
struct schedstat_seen {
    std::uint64_t first[2], last[2];
};

}  // namespace

// And of one worker what it reads itself in its schedstat.
KTSTR_TEST(telemetry_is_schedstat, cores = 1, duration = 400ms) {
    auto* const told =
        static_cast<schedstat_seen*>(::mmap(nullptr, sizeof(schedstat_seen), PROT_READ | PROT_WRITE,
                                            MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    KTSTR_REQUIRE(told != MAP_FAILED);
    auto def = ctx.cgroup_def("load").workers(1).work(work::custom{
        .run =
            [](work::worker& self) {
                auto* const seen = const_cast<schedstat_seen*>(&self.data<schedstat_seen>());
                while (self.goes_on()) {
                    std::ifstream("/proc/self/schedstat") >> seen->last[0] >> seen->last[1];
                    if (seen->first[0] == 0)
                        std::copy_n(seen->last, 2, seen->first);
                    self.count();
                }
            },
        .data = told});
    // With a rival, so that it has to wait.
    const auto result = execute_steps(ctx, {{.setup = {def, ctx.cgroup_def("rival").workers(1)}}});
    const auto seen = result.steps[0].cgroup("load")->account();
    KTSTR_CHECK(seen.iterations > 2);
    const auto ran = std::chrono::nanoseconds(told->last[0] - told->first[0]);
    const auto waited = std::chrono::nanoseconds(told->last[1] - told->first[1]);
    KTSTR_CHECK(seen.cpu_time + 4ms >= ran);
    KTSTR_CHECK(seen.run_delay >= waited);
    KTSTR_CHECK(seen.run_delay > 0ns);
    // It has nothing but the first turn's beginning and the last one's end beside.
    KTSTR_CHECK(seen.run_delay - waited <= seen.iteration_time.max() * 2);
}
