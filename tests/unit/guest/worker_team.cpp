// SPDX-License-Identifier: MIT
// Workers as real processes, without cgroups: they start together, count, stop, and whatever
// becomes of one of them ends up in its report.
#include <ktstr/guest/work/worker_team.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <csignal>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace ktstr::guest;
using namespace std::chrono_literals;

namespace {

worker_team team_of(int workers, spin_wait work = {}) {
    auto team = worker_team::make(static_cast<std::size_t>(workers));
    REQUIRE(team);
    for (int i = 0; i < workers; ++i)
        REQUIRE(team->spawn({"load", 0, i}, work));
    return *std::move(team);
}

auto soon() {
    return worker_team::clock::now() + 60s;
}

/// Runs until the worker has counted something.
void run_until_counted(worker_team& team, std::size_t worker) {
    while (team.iterations(worker) == 0)
        team.watch_until(worker_team::clock::now() + 1ms);
}

bool no_such_process(pid_t pid) {
    return ::kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

TEST_CASE("workers count, stop when told to, and report", "[guest][work]") {
    auto team = team_of(3);
    REQUIRE(team.wait_until_ready(soon()));
    const auto begin = team.release();
    for (std::size_t i = 0; i < 3; ++i)
        run_until_counted(team, i);
    const auto ran = worker_team::clock::now() - begin;
    team.stop(60s);
    CHECK(team.alive() == 0);

    const auto reports = team.reports();
    REQUIRE(reports.size() == 3);
    for (int i = 0; i < 3; ++i) {
        const auto& r = reports[static_cast<std::size_t>(i)];
        CHECK(r.completed);
        CHECK(r.exit_status == "");
        CHECK(r.cgroup == "load");
        CHECK(r.index == i);
        CHECK(r.iterations > 0);
        CHECK(r.cpu_time > 0ns);
        CHECK(r.wall_time >= ran);
        CHECK(r.cpu_time <= r.wall_time);
        CHECK(no_such_process(r.pid));
    }
}

TEST_CASE("nobody works before the gate opens", "[guest][work]") {
    auto team = team_of(2);
    REQUIRE(team.wait_until_ready(soon()));
    team.watch_until(worker_team::clock::now() + 30ms);
    CHECK(team.iterations(0) == 0);
    CHECK(team.iterations(1) == 0);
    CHECK(team.alive() == 2);
    team.release();
    run_until_counted(team, 0);
    run_until_counted(team, 1);
}

TEST_CASE("watching ends at its time, not before, with and without workers", "[guest][work]") {
    for (const int workers : {0, 1}) {
        auto team = team_of(workers);
        team.release();
        const auto end = worker_team::clock::now() + 25ms;
        team.watch_until(end);
        CHECK(worker_team::clock::now() >= end);
    }
}

TEST_CASE("a worker that is killed is noticed at once and keeps its count", "[guest][work]") {
    auto team = team_of(2);
    team.release();
    run_until_counted(team, 0);
    const auto pid = team.reports()[0].pid;
    REQUIRE(::kill(pid, SIGSEGV) == 0);
    const auto end = worker_team::clock::now() + 60s;
    while (team.alive() == 2 && worker_team::clock::now() < end)
        team.watch_until(worker_team::clock::now() + 1ms);
    CHECK(team.alive() == 1);
    team.stop(60s);

    const auto reports = team.reports();
    CHECK_FALSE(reports[0].completed);
    CHECK(reports[0].exit_status == "killed by SIGSEGV");
    CHECK(reports[0].iterations > 0);
    CHECK(reports[0].wall_time > 0ns);
    CHECK(reports[1].completed);
    CHECK(reports[1].exit_status == "");
}

TEST_CASE("a worker that is stopped before it is ready still ends in order", "[guest][work]") {
    // SIGUSR1 would kill it as long as it has no handler of its own.
    for (int round = 0; round < 20; ++round) {
        auto team = team_of(2);
        team.release();
        team.stop(60s);
        for (const auto& report : team.reports())
            CHECK(report.exit_status == "");
    }
}

TEST_CASE("the death of a worker does not end the watch early", "[guest][work]") {
    auto team = team_of(1);
    team.release();
    const auto end = worker_team::clock::now() + 50ms;
    ::kill(team.reports()[0].pid, SIGKILL);
    team.watch_until(end);
    CHECK(worker_team::clock::now() >= end);
    CHECK(team.alive() == 0);
    CHECK(team.reports()[0].exit_status == "killed by SIGKILL");
}

TEST_CASE("a worker that does not stop is killed, and says so", "[guest][work]") {
    auto team = team_of(2);
    REQUIRE(team.wait_until_ready(soon()));
    team.release();
    run_until_counted(team, 0);
    run_until_counted(team, 1);
    ::kill(team.reports()[0].pid, SIGSTOP);
    team.stop(500ms);
    const auto reports = team.reports();
    CHECK_FALSE(reports[0].completed);
    CHECK(reports[0].exit_status == "did not stop within 500 ms and was killed");
    CHECK(reports[0].iterations > 0);
    CHECK(reports[1].completed);
    CHECK(team.alive() == 0);
}

TEST_CASE("a worker that died at the gate has no time and no count", "[guest][work]") {
    auto team = team_of(2);
    ::kill(team.reports()[0].pid, SIGKILL);
    CHECK(team.wait_until_ready(soon()));  // a dead one is not waited for
    team.release();
    run_until_counted(team, 1);
    team.stop(60s);
    CHECK(team.reports()[0].exit_status == "killed by SIGKILL");
    CHECK(team.reports()[0].iterations == 0);
    CHECK(team.reports()[1].completed);
}

TEST_CASE("a worker that cannot come up runs the time out", "[guest][work]") {
    auto team = worker_team::make(1);
    REQUIRE(team);
    const auto pid = team->spawn({"load", 0, 0}, spin_wait{});
    REQUIRE(pid);
    ::kill(*pid, SIGSTOP);
    // It may have reached the gate before it was stopped; then there is nothing to see here.
    if (team->wait_until_ready(worker_team::clock::now() + 50ms))
        SUCCEED("it was faster");
    else
        CHECK(team->alive() == 1);
}

TEST_CASE("a team that is dropped leaves no process", "[guest][work]") {
    std::vector<pid_t> pids;
    {
        auto team = team_of(2);
        for (const auto& r : team.reports())
            pids.push_back(r.pid);
    }
    for (const auto pid : pids)
        CHECK(no_such_process(pid));
}

TEST_CASE("workers die with the process that started them", "[guest][work]") {
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    const pid_t body = ::fork();
    if (body == 0) {
        ::close(pipe[0]);
        auto team = worker_team::make(1);
        if (team && team->spawn({"load", 0, 0}, spin_wait{}) && team->wait_until_ready(soon())) {
            team->release();
            run_until_counted(*team, 0);
            (void)!::write(pipe[1], "x", 1);
        }
        ::raise(SIGKILL);
    }
    ::close(pipe[1]);
    char byte = 0;
    CHECK(::read(pipe[0], &byte, 1) == 1);
    // The worker holds the other end of the pipe as well: end of file is the end of both.
    CHECK(::read(pipe[0], &byte, 1) == 0);
    ::close(pipe[0]);
    ::waitpid(body, nullptr, 0);
}

TEST_CASE("workers are plain processes whatever the starting thread is", "[guest][work]") {
    const sched_param lowest{1};
    if (::sched_setscheduler(0, SCHED_FIFO, &lowest) != 0)
        SKIP("this process may not use SCHED_FIFO");
    struct sigaction before {};
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGUSR1, &ignore, &before);
    {
        auto team = team_of(1);
        CHECK(team.wait_until_ready(soon()));
        const auto pid = team.reports()[0].pid;
        CHECK(::sched_getscheduler(pid) == SCHED_OTHER);
        CHECK(::getpgid(pid) == pid);
    }
    ::sigaction(SIGUSR1, &before, nullptr);
    const sched_param none{};
    REQUIRE(::sched_setscheduler(0, SCHED_OTHER, &none) == 0);
}

TEST_CASE("a team has no more members than it has slots", "[guest][work]") {
    auto team = worker_team::make(1);
    REQUIRE(team);
    CHECK(team->spawn({"load", 0, 0}, spin_wait{}));
    const auto refused = team->spawn({"load", 0, 1}, spin_wait{});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message() == "cannot start worker 1 of cgroup load: the team is full");
}

TEST_CASE("spin_wait that is stopped before it starts did nothing", "[guest][work]") {
    auto board = worker_board::make(1, 1);
    REQUIRE(board);
    board->gate().stop = 1;
    work_loop loop(board->phase(0), board->gate());
    run_work(spin_wait{}, loop);
    CHECK(board->phase(0).iterations.get() == 0);
}

TEST_CASE("spin_wait takes longer with more spins", "[guest][work]") {
    // Fails if the compiler throws the loop away: then the number of spins has no effect.
    const auto count = [](int spins) {
        auto team = team_of(1, {spins});
        team.release();
        team.watch_until(worker_team::clock::now() + 100ms);
        team.stop(60s);
        const auto report = team.reports()[0];
        return static_cast<double>(report.cpu_time.count()) /
               static_cast<double>(report.iterations);
    };
    CHECK(count(100'000) > 10 * count(1'000));
}

namespace {

worker_team team_with(work_spec spec) {
    const auto workers = static_cast<std::size_t>(*spec.workers);
    auto team = worker_team::make(workers, workers * std::max<std::size_t>(1, spec.phases.size()));
    REQUIRE(team);
    for (int i = 0; i < *spec.workers; ++i)
        REQUIRE(team->spawn({"load", 0, i}, spec));
    return *std::move(team);
}

}  // namespace

TEST_CASE("each phase has an account of its own, and together they are the worker's",
          "[guest][work]") {
    auto team = team_with({.workers = 2, .phases = {{spin_wait{}, 10ms}, {work::pipe_io{}, 10ms}}});
    team.release();
    const auto both_worked = [&] {
        const auto all = team.reports();
        return std::all_of(all.begin(), all.end(), [](const worker_report& r) {
            return r.phases[0].iterations > 0 && r.phases[1].iterations > 0;
        });
    };
    const auto end = soon();
    while (!both_worked() && worker_team::clock::now() < end)
        team.watch_until(worker_team::clock::now() + 5ms);
    team.stop(60s);
    for (const auto& r : team.reports()) {
        CHECK(r.completed);
        REQUIRE(r.phases.size() == 2);
        CHECK(r.phases[0].iterations + r.phases[1].iterations == r.iterations);
        CHECK(r.phases[0].wall_time + r.phases[1].wall_time == r.wall_time);
        CHECK(r.phases[0].cpu_time + r.phases[1].cpu_time == r.cpu_time);
        CHECK(r.phases[0].wake_latency.empty());
        CHECK(r.phases[1].wake_latency.count() <= r.phases[1].iterations);
        CHECK_FALSE(r.phases[1].wake_latency.empty());
        CHECK(r.phases[0].iteration_time.count() == r.phases[0].iterations);
        CHECK(r.account().iterations == r.iterations);
        CHECK_FALSE(r.phases[0].cpus.empty());
    }
}

TEST_CASE("what a worker counted can be read while it runs, and is not lost with it",
          "[guest][work]") {
    auto team = team_of(1);
    team.release();
    run_until_counted(team, 0);
    const auto running = team.reports()[0];
    CHECK(running.phases[0].iterations > 0);
    CHECK(running.phases[0].iteration_time.count() > 0);
    CHECK(running.wall_time > 0ns);
    ::kill(running.pid, SIGKILL);
    team.stop(60s);
    const auto dead = team.reports()[0];
    CHECK_FALSE(dead.completed);
    CHECK(dead.phases[0].iterations >= running.phases[0].iterations);
    CHECK(dead.phases[0].iteration_time.count() >= running.phases[0].iteration_time.count());
    CHECK(dead.cpu_time > 0ns);
    if (running.phases[0].run_delay >= 0ns) {
        CHECK(dead.phases[0].run_delay >= running.phases[0].run_delay);
    }
}

TEST_CASE("partners stop in order, however they wait for each other", "[guest][work]") {
    for (int round = 0; round < 30; ++round) {
        auto team = team_with({.kind = work::pipe_io{.spins = 0}, .workers = 4});
        REQUIRE(team.wait_until_ready(soon()));
        team.release();
        run_until_counted(team, 3);
        team.stop(60s);
        for (const auto& r : team.reports())
            CHECK(r.exit_status == "");
    }
}

TEST_CASE("a kernel's account is absent where the kernel does not say it", "[guest][work]") {
    using ktstr::guest::detail::number_of;
    std::uint64_t value = 7;
    CHECK(number_of("a (1)\nse.nr_migrations    :      12\nnr_switches : 3\n", "se.nr_migrations",
                    value));
    CHECK(value == 12);
    CHECK(number_of("usage_usec 5\nuser_usec 4\n", "usage_usec", value));
    CHECK(value == 5);
    CHECK_FALSE(number_of("user_usec 4\n", "usage_usec", value));
    CHECK_FALSE(number_of("x usage_usec 4\n", "usage_usec", value));
    CHECK_FALSE(number_of("usage_usec\n", "usage_usec", value));
    CHECK_FALSE(number_of("", "usage_usec", value));
    const auto own = read_kernel_account(::getpid());
    CHECK(own.cpu_ns > 0);
    const auto nobody = read_kernel_account(0x7ffffffe);
    CHECK(nobody.cpu_ns == 0);
    CHECK_FALSE(nobody.known_schedstat);
    CHECK_FALSE(nobody.known_sched);
}

TEST_CASE("every kind works in phases, comes back to it, and stops in order", "[guest][work]") {
    using namespace ktstr::work;
    using ktstr::work::barrier;  // not the standard's
    const work_kind kinds[] = {yield_heavy{},
                               mixed{},
                               bursty{1ms, 1ms},
                               pipe_io{},
                               futex_ping_pong{},
                               futex_fan_out{},
                               thundering_herd{.gap = 1ms},
                               wake_chain{},
                               wake_chain{.depth = 3, .by = wake_path::futex},
                               mutex_contention{},
                               barrier{},
                               fork_exit{},
                               compile_tree{.jobs = 2, .work = 1ms},
                               affinity_churn{},
                               signal_storm{},
                               page_fault_churn{},
                               idle_churn{},
                               timer_latency{},
                               deadline_frames{2ms, 500us},
                               unix_socket{},
                               epoll_storm{},
                               stop_the_world{.every = 3ms, .pause = 500us}};
    for (const auto& kind : kinds) {
        INFO(to_text(kind.id()));
        // Together with one that has pairs, so that a worker has different partners in its phases.
        work_spec group{.phases = {{kind, 20ms}, {pipe_io{}, 5ms}, {kind, 10ms}}};
        group.workers = group.members();
        auto team = team_with(group);
        REQUIRE(team.wait_until_ready(soon()));
        team.release();
        const auto all_worked = [&] {
            for (const auto& r : team.reports())
                for (const auto& phase : r.phases)
                    if (phase.iterations == 0)
                        return false;
            return true;
        };
        const auto end = soon();
        while (!all_worked() && team.alive() == team.size() && worker_team::clock::now() < end)
            team.watch_until(worker_team::clock::now() + 20ms);
        CHECK(all_worked());
        // Further rounds, until a stop falls anywhere.
        team.watch_until(worker_team::clock::now() + 50ms);
        team.stop(60s);
        for (const auto& r : team.reports())
            CHECK(r.exit_status == "");
    }
}

TEST_CASE("a frame that could not begin is a missed deadline too", "[guest][work]") {
    auto team = team_with({.kind = work::deadline_frames{40ms, 42ms}, .workers = 1});
    team.release();
    while (team.iterations(0) < 6 && team.alive() == 1)
        team.watch_until(worker_team::clock::now() + 5ms);
    team.stop(60s);
    const auto seen = team.reports()[0].account();
    REQUIRE(seen.iterations >= 6);
    CHECK(seen.missed_deadlines == seen.deadlines);
    // Each takes longer than its period, so that at least one other has no time left for it.
    CHECK(seen.deadlines >= 2 * seen.iterations);
}
