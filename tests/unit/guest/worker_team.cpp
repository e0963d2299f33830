// SPDX-License-Identifier: MIT
// Workers as real processes, without cgroups: they start together, count, stop, and whatever
// becomes of one of them ends up in its report.
#include <ktstr/guest/work/worker_team.hpp>

#include <catch2/catch_test_macros.hpp>

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
    const auto begin = worker_team::clock::now();
    team.release();
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
    auto board = worker_board::make(1);
    REQUIRE(board);
    board->gate().stop = 1;
    work_loop loop(board->slot(0), board->gate());
    run_work(spin_wait{}, loop);
    CHECK(board->slot(0).iterations == 0);
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
