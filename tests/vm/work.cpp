// SPDX-License-Identifier: MIT
// Every kind of work in a guest, each beside the kernel's counter or event that it is for, and beside one that it must not
// cause. The test of a kind bears its name: docs/reference.md names it.
#include <ktstr/ktstr.hpp>

#include <algorithm>
#include <chrono>
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
    KTSTR_CHECK(seen.iterations > 5);
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
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(seen.wake_latency.count() <= seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() + 2 >= seen.iterations);
    // A partner that had no time to fall asleep is not woken: on two CPUs the most are.
    KTSTR_CHECK(sync.count() > seen.iterations / 4, "{} of {}", sync.count(), seen.iterations);
    // One is never more than a byte ahead of the other.
    const auto a = report.workers()[0].iterations, b = report.workers()[1].iterations;
    KTSTR_CHECK(std::max(a, b) - std::min(a, b) <= 1);
}

KTSTR_TEST(futex_ping_pong, cores = 2, duration = 500ms) {
    const auto plain = event_counter::of_function("plain", wakes, without_sync);
    const auto sync = event_counter::of_function("sync", wakes, with_sync);
    const auto seen = load(ctx, work::futex_ping_pong{}).account();
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(plain.count() > seen.iterations / 4, "{} of {}", plain.count(), seen.iterations);
    // The harness's own, at start and end.
    KTSTR_CHECK(sync.count() < 20 + seen.iterations / 20);
    KTSTR_CHECK(seen.wake_latency.count() + 2 >= seen.iterations);
}

KTSTR_TEST(futex_fan_out, cores = 2, duration = 500ms) {
    const event_counter of_four("syscalls/sys_enter_futex",
                                by_a_worker + " && op == 1 && val == 4");
    const event_counter woken("sched/sched_waking",
                              "COMM == \"ktstr-worker\" && comm == \"ktstr-worker\"");
    const auto report = load(ctx, work::futex_fan_out{});
    const auto seen = report.account();
    const auto rounds = report.workers()[0].iterations;
    KTSTR_CHECK(report.worker_count() == 5);
    KTSTR_CHECK(rounds > 5);
    KTSTR_CHECK(of_four.count() == rounds);
    // All four in every round, but for the last one.
    KTSTR_CHECK(seen.iterations - rounds >= 4 * (rounds - 1));
    KTSTR_CHECK(seen.iterations - rounds <= 4 * rounds);
    KTSTR_CHECK(seen.wake_latency.count() + 4 >= seen.iterations - rounds);
    KTSTR_CHECK(woken.count() > rounds, "{} of {}", woken.count(), rounds);
}

KTSTR_TEST(thundering_herd, cores = 2, duration = 500ms) {
    const event_counter of_seven("syscalls/sys_enter_futex",
                                 by_a_worker + " && op == 1 && val == 7");
    const event_counter woken("sched/sched_waking",
                              "COMM == \"ktstr-worker\" && comm == \"ktstr-worker\"");
    const auto report = load(ctx, work::thundering_herd{.gap = 20ms});
    const auto rounds = report.workers()[0].iterations;
    KTSTR_CHECK(report.worker_count() == 8);
    KTSTR_CHECK(rounds > 1);
    KTSTR_CHECK(of_seven.count() == rounds);
    // After a gap of 20 ms they sleep, and one call wakes all of them.
    KTSTR_CHECK(woken.count() >= 5 * (rounds - 1), "{} in {} rounds", woken.count(), rounds);
    for (int i = 1; i < 8; ++i)
        KTSTR_CHECK(report.workers()[static_cast<std::size_t>(i)].iterations + 1 >= rounds);
}

// Over pipes the waker announces that it is about to sleep, over futexes it does not; the token is at one place.
KTSTR_TEST(wake_chain, cores = 2, duration = 500ms) {
    for (const auto by : {work::wake_path::pipe, work::wake_path::futex}) {
        const std::string name = by == work::wake_path::pipe ? "pipe" : "futex";
        KTSTR_INFO("{}", name);
        const auto sync = event_counter::of_function("sync_" + name, wakes, with_sync);
        const auto plain = event_counter::of_function("plain_" + name, wakes, without_sync);
        const auto report = load(ctx, work::wake_chain{.depth = 4, .by = by});
        const auto seen = report.account();
        const bool pipe = by == work::wake_path::pipe;
        KTSTR_CHECK(report.worker_count() == 4);
        KTSTR_CHECK(seen.iterations > 5);
        KTSTR_CHECK((pipe ? sync : plain).count() > seen.iterations / 2);
        KTSTR_CHECK((pipe ? plain : sync).count() < 60 + seen.iterations / 10);
        const auto [least, most] =
            std::ranges::minmax(report.workers(), {}, &worker_report::iterations);
        KTSTR_CHECK(most.iterations - least.iterations <= 1);
    }
}

KTSTR_TEST(mutex_contention, cores = 2, duration = 500ms) {
    const event_counter sleeps("syscalls/sys_enter_futex", by_a_worker + " && op == 0 && val == 2");
    const auto report = load(ctx, work::mutex_contention{.hold_spins = 4096});
    const auto seen = report.account();
    KTSTR_CHECK(report.worker_count() == 4);
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(sleeps.count() > 2);
    KTSTR_CHECK(!seen.wake_latency.empty());
    KTSTR_CHECK(seen.voluntary_switches > 2);
}

KTSTR_TEST(barrier, cores = 2, duration = 500ms) {
    const event_counter broadcasts("syscalls/sys_enter_futex",
                                   by_a_worker + " && op == 1 && val == 4");
    const auto report = load(ctx, work::barrier{});
    const auto seen = report.account();
    KTSTR_CHECK(report.worker_count() == 4);
    const auto [least, most] =
        std::ranges::minmax(report.workers(), {}, &worker_report::iterations);
    KTSTR_CHECK(least.iterations > 5);
    // Nobody is more than a round ahead.
    KTSTR_CHECK(most.iterations - least.iterations <= 1);
    KTSTR_CHECK(broadcasts.count() == most.iterations);
    KTSTR_CHECK(!seen.wake_latency.empty());
}

KTSTR_TEST(fork_exit, cores = 2, duration = 1s) {
    const event_counter forks("sched/sched_process_fork", by_a_worker);
    const event_counter ends("sched/sched_process_exit", by_a_worker);
    const event_counter waits("sched/sched_process_wait", by_a_worker);
    const auto report = load(ctx, work::fork_exit{});
    KTSTR_CHECK(report.iterations() > 1);
    KTSTR_CHECK(forks.count() == report.iterations());
    // And the two workers' own.
    KTSTR_CHECK(ends.count() == report.iterations() + 2);
    KTSTR_CHECK(waits.count() >= report.iterations());
    KTSTR_CHECK(report.kernel_cpu_time() > report.cpu_time());
}

KTSTR_TEST(compile_tree, cores = 2, duration = 1s) {
    const event_counter forks("sched/sched_process_fork", by_a_worker);
    const auto report = load(ctx, work::compile_tree{.jobs = 3, .work = 2ms}, 1);
    KTSTR_CHECK(report.iterations() > 1);
    // A driver and its compiler for each job.
    KTSTR_CHECK(forks.count() == 6 * report.iterations());
    const auto compiled = report.iterations() * 3 * 2ms;
    KTSTR_CHECK(report.kernel_cpu_time() >= compiled + report.cpu_time() - 8ms);
}

KTSTR_TEST(nice_sweep, cores = 2, duration = 500ms) {
    const auto changes =
        event_counter::of_function("nice", "set_user_nice nice=$arg2:s64", by_a_worker);
    const auto negative = event_counter::of_function("nice_low", "set_user_nice nice=$arg2:s64",
                                                     by_a_worker + " && nice < 0");
    const auto seen = load(ctx, work::nice_sweep{}).account();
    KTSTR_CHECK(seen.iterations > 5);
    // A turn each, and the try and the end of both workers.
    KTSTR_CHECK(changes.count() >= seen.iterations);
    KTSTR_CHECK(changes.count() <= seen.iterations + 4);
    // Half of the values, from the lowest on.
    KTSTR_CHECK(negative.count() >= std::min<std::uint64_t>(seen.iterations, 40) / 2);
}

KTSTR_TEST(affinity_churn, cores = 2, duration = 500ms) {
    const event_counter moves("sched/sched_migrate_task", "comm == \"ktstr-worker\"");
    const auto report = load(ctx, work::affinity_churn{});
    const auto seen = report.account();
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(seen.migrations > static_cast<double>(seen.iterations) / 4, "{} of {}",
                seen.migrations, seen.iterations);
    KTSTR_CHECK(static_cast<double>(moves.count()) >= seen.migrations);
    KTSTR_CHECK(seen.cpus == ctx.topology().all_cpus());
}

KTSTR_TEST(policy_churn, cores = 2, duration = 500ms) {
    const event_counter idle("syscalls/sys_enter_sched_setscheduler",
                             by_a_worker + " && policy == 5");
    const event_counter fifo("syscalls/sys_enter_sched_setscheduler",
                             by_a_worker + " && policy == 1");
    const auto classes =
        event_counter::of_function("policy", "__setscheduler_class policy=$arg1:s32", by_a_worker);
    const auto seen = load(ctx, work::policy_churn{}).account();
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(idle.count() + 2 >= seen.iterations / 5);
    KTSTR_CHECK(fifo.count() + 2 >= seen.iterations / 5);
    KTSTR_CHECK(classes.count() >= seen.iterations, "{} of {}", classes.count(), seen.iterations);
}

KTSTR_TEST(signal_storm, cores = 2, duration = 500ms) {
    const event_counter sent("signal/signal_generate", by_a_worker + " && sig == 12");
    const event_counter delivered("signal/signal_deliver", by_a_worker + " && sig == 12");
    const auto seen = load(ctx, work::signal_storm{}).account();
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(sent.count() >= 16 * seen.iterations);
    KTSTR_CHECK(sent.count() <= 16 * (seen.iterations + 2));
    // One that is sent while the same is waiting is one with it.
    KTSTR_CHECK(delivered.count() > 2);
    KTSTR_CHECK(delivered.count() <= sent.count());
}

KTSTR_TEST(page_fault_churn, cores = 2, duration = 500ms) {
    const event_counter faults("exceptions/page_fault_user", by_a_worker);
    const auto seen = load(ctx, work::page_fault_churn{}).account();
    KTSTR_CHECK(seen.iterations > 1);
    KTSTR_CHECK(faults.count() >= 256 * seen.iterations);
    // The last turn may not be over, and a worker has its own after its fork.
    KTSTR_CHECK(faults.count() <= 256 * (seen.iterations + 2) + 400, "{}", faults.count());
}

KTSTR_TEST(idle_churn, cores = 2, duration = 500ms) {
    const auto timers = event_counter::of_function("timers", "hrtimer_wakeup");
    const event_counter to_idle("sched/sched_switch",
                                "prev_comm == \"ktstr-worker\" && next_pid == 0");
    const auto seen = load(ctx, work::idle_churn{}).account();
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(timers.count() + 2 >= seen.iterations);
    KTSTR_CHECK(to_idle.count() > seen.iterations / 4, "{} of {}", to_idle.count(),
                seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() + 2 >= seen.iterations);
}

KTSTR_TEST(timer_latency, cores = 2, duration = 500ms) {
    const auto timers = event_counter::of_function("timers", "hrtimer_wakeup");
    const auto seen = load(ctx, work::timer_latency{.interval = 5ms}).account();
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK(timers.count() + 4 >= seen.iterations);
    KTSTR_CHECK(seen.deadlines == seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() + 4 >= seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() <= seen.iterations);
}

// What fits may be met; what cannot is missed, every time, and the frames that could not begin with it.
KTSTR_TEST(deadline_frames, cores = 2, duration = 500ms) {
    const auto timers = event_counter::of_function("timers", "hrtimer_wakeup");
    const auto light = load(ctx, work::deadline_frames{.period = 30ms, .budget = 1ms}).account();
    KTSTR_CHECK(light.iterations > 4);
    KTSTR_CHECK(timers.count() > 4);
    KTSTR_CHECK(light.deadlines >= light.iterations);
    KTSTR_CHECK(light.missed_deadlines < light.deadlines);
    const auto heavy = load(ctx, work::deadline_frames{.period = 10ms, .budget = 25ms}).account();
    KTSTR_CHECK(heavy.iterations > 2);
    KTSTR_CHECK(heavy.missed_deadlines == heavy.deadlines);
    // Two of the three that its budget is longer than cannot begin.
    KTSTR_CHECK(heavy.deadlines >= 3 * heavy.iterations);
    KTSTR_CHECK(heavy.cpu_time >= heavy.iterations * 25ms);
}

KTSTR_TEST(unix_socket, cores = 2, duration = 500ms) {
    const auto sends = event_counter::of_function("sends", "unix_seqpacket_sendmsg", by_a_worker);
    const auto receives =
        event_counter::of_function("receives", "unix_seqpacket_recvmsg", by_a_worker);
    const auto report = load(ctx, work::unix_socket{.bytes = 128});
    const auto seen = report.account();
    KTSTR_CHECK(report.worker_count() == 2);
    KTSTR_CHECK(seen.iterations > 5);
    KTSTR_CHECK((sends.count() >= seen.iterations && sends.count() <= seen.iterations + 2));
    KTSTR_CHECK(receives.count() >= seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() <= seen.iterations);
    KTSTR_CHECK(seen.wake_latency.count() + 2 >= seen.iterations);
}

KTSTR_TEST(preempt_storm, cores = 2, duration = 500ms) {
    const event_counter preempted(
        "sched/sched_switch",
        "prev_comm == \"ktstr-worker\" && next_comm == \"ktstr-worker\" && "
        "prev_prio >= 100 && next_prio < 100 && prev_state != 1");
    const auto report = load(ctx, work::preempt_storm{.interval = 5ms});
    const auto& rt = report.workers()[0];
    KTSTR_CHECK(report.worker_count() == 3);
    KTSTR_CHECK(rt.iterations > 5);
    // Both CPUs are busy, so each of its wake-ups throws somebody out.
    KTSTR_CHECK(preempted.count() > rt.iterations / 2, "{} of {}", preempted.count(),
                rt.iterations);
    KTSTR_CHECK(report.workers()[1].account().involuntary_switches +
                    report.workers()[2].account().involuntary_switches >
                static_cast<double>(rt.iterations) / 2);
    KTSTR_CHECK(rt.account().wake_latency.count() + 1 >= rt.iterations);
    KTSTR_CHECK(report.workers()[1].account().wake_latency.empty());
}

KTSTR_TEST(stop_the_world, cores = 2, duration = 1s) {
    const event_counter releases("syscalls/sys_enter_futex",
                                 by_a_worker + " && op == 1 && val == 3");
    const event_counter parks("syscalls/sys_enter_futex", by_a_worker + " && op == 0 && val == 1");
    const auto report = load(ctx, work::stop_the_world{.every = 40ms, .pause = 10ms});
    const auto pauses = report.workers()[0].iterations;
    KTSTR_CHECK(report.worker_count() == 4);
    KTSTR_CHECK(pauses > 1);
    KTSTR_CHECK(releases.count() >= pauses);
    KTSTR_CHECK(parks.count() >= pauses);
    for (int i = 1; i < 4; ++i) {
        const auto mutator = report.workers()[static_cast<std::size_t>(i)].account();
        // Each of them stood still each time, for as long as the pause was.
        KTSTR_CHECK(mutator.wake_latency.count() + 1 >= pauses);
        KTSTR_CHECK(mutator.iteration_time.max() >= 10ms);
    }
}

KTSTR_TEST(epoll_storm, cores = 2, duration = 500ms) {
    const auto callbacks = event_counter::of_function("callbacks", "ep_poll_callback", by_a_worker);
    const auto report = load(ctx, work::epoll_storm{});
    const auto bursts = report.workers()[0].iterations;
    const auto taken = report.iterations() - bursts;
    KTSTR_CHECK(report.worker_count() == 3);
    KTSTR_CHECK(bursts > 2);
    // Every event is taken once.
    KTSTR_CHECK((taken <= 32 * bursts && taken >= 32 * (bursts - 1)));
    KTSTR_CHECK(callbacks.count() >= bursts - 1, "{} in {} bursts", callbacks.count(), bursts);
    KTSTR_CHECK(!report.account().wake_latency.empty());
    KTSTR_CHECK(report.workers()[0].account().wake_latency.empty());
}

// The kernel lends priorities with the one lock, and none with the other.
KTSTR_TEST(priority_inversion, cores = 2, duration = 500ms) {
    for (const auto lock : {work::lock_kind::plain, work::lock_kind::pi}) {
        const event_counter lent("sched/sched_pi_setprio", "comm == \"ktstr-worker\"");
        const auto report =
            load(ctx, work::priority_inversion{.hold_spins = 200'000, .lock = lock});
        KTSTR_CHECK(report.worker_count() == 3);
        for (const auto& w : report)
            KTSTR_CHECK(w.iterations > 2);
        KTSTR_CHECK(!report.workers()[0].account().wake_latency.empty());
        KTSTR_CHECK(report.workers()[2].account().wake_latency.empty());
        KTSTR_CHECK(report.account().cpus.count() == 1);
        if (lock == work::lock_kind::pi)
            KTSTR_CHECK(lent.count() > 2, "{}", lent.count());
        else
            KTSTR_CHECK(lent.count() == 0);
    }
}

KTSTR_TEST(io_uring, cores = 2, duration = 500ms) {
    const event_counter queued("io_uring/io_uring_queue_async_work", by_a_worker);
    const auto seen = load(ctx, work::io_uring{}, 1).account();
    KTSTR_CHECK(seen.iterations > 2);
    KTSTR_CHECK(queued.count() == 8 * seen.iterations);
    KTSTR_CHECK(seen.voluntary_switches > 2);
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
    KTSTR_CHECK(seen.iterations > 5);
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
    KTSTR_CHECK(yield.iterations > 5);
    KTSTR_CHECK(pipe.iterations > 5);
    KTSTR_CHECK(yields.count() == yield.iterations);
    KTSTR_CHECK(spin.wake_latency.empty());
    KTSTR_CHECK(pipe.wake_latency.count() <= pipe.iterations);
    KTSTR_CHECK(pipe.wake_latency.count() > pipe.iterations / 2);
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
    const std::vector<work_kind> kinds{work::futex_ping_pong{},
                                       work::futex_fan_out{},
                                       work::mutex_contention{},
                                       work::page_fault_churn{},
                                       work::affinity_churn{},
                                       work::idle_churn{},
                                       work::spin_wait{},
                                       work::yield_heavy{},
                                       work::mixed{},
                                       work::pipe_io{},
                                       work::bursty{.burst = 10ms, .sleep = 20ms}};
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
