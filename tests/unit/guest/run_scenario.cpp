// SPDX-License-Identifier: MIT
// Whole scenarios on this machine: what they report, what they refuse, and that they leave neither
// a process nor a cgroup behind. Those that need cgroups skip where none can be made.
#include <ktstr/guest/scenario/run_scenario.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "fake_files.hpp"
#include "real_cgroup.hpp"

using namespace ktstr;
using namespace ktstr::guest;
using namespace ktstr::guest::testing;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

/// A cgroup for the scenarios of one test, and their settings put back at its end.
class sandbox {
public:
    sandbox() : cgroup_(test_cgroup()) {
        scenario_cgroup_parent() = cgroup_.root();
        worker_sink() = [this](const wire::worker& w) { sent.push_back(w); };
    }
    sandbox(const sandbox&) = delete;
    sandbox& operator=(const sandbox&) = delete;
    ~sandbox() {
        scenario_cgroup_parent().clear();
        worker_sink() = nullptr;
    }
    [[nodiscard]] std::string path(const std::string& name) const {
        return cgroup_.root() + "/ktstr/" + name;
    }
    [[nodiscard]] const std::string& root() const { return cgroup_.root(); }
    [[nodiscard]] bool is_clean() const {
        return guest::detail::child_directories(cgroup_.root()).empty();
    }

    std::vector<wire::worker> sent;

private:
    cgroup_tree cgroup_;
};

cgroup_def named(const char* name) {
    cgroup_def def;
    def.name = name;
    return def;
}

std::string refusal(const std::vector<step>& steps) {
    const context ctx({.duration = 10ms});
    try {
        (void)run_scenario(ctx, steps);
    } catch (const scenario_error& e) {
        CHECK(e.why() == scenario_error::cause::mistake_in_test);
        return e.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a scenario of two steps reports every worker of both", "[guest][scenario]") {
    sandbox box;
    const context ctx({.duration = 200ms});
    const auto result =
        run_scenario(ctx, {step{.setup = {named("load").workers(3), named("a/b")}},
                           step{.setup = {named("load").work(spin_wait{}).work(spin_wait{16})},
                                .hold = hold::frac(0.5)}});

    REQUIRE(result.steps.size() == 2);
    const auto& first = result.steps[0];
    REQUIRE(first.cgroups().size() == 2);
    CHECK(first.cgroups()[0].name() == "load");
    CHECK(first.cgroups()[0].workers().size() == 3);
    CHECK(first.cgroups()[1].name() == "a/b");
    CHECK(first.cgroups()[1].workers().size() == cgroup_def::default_workers);
    REQUIRE(result.steps[1].cgroups().size() == 1);
    REQUIRE(result.steps[1].cgroups()[0].workers().size() == 4);
    CHECK(result.steps[1].cgroups()[0].workers()[3].group == 1);
    CHECK(result.steps[1].cgroups()[0].workers()[3].index == 1);

    // The hold is exact: never short, and long by no more than this thread waits for a CPU.
    CHECK(first.held() >= 200ms);
    CHECK(first.held() < 200ms + 2s);
    CHECK(result.steps[1].held() >= 100ms);
    CHECK(result.steps[1].held() < 100ms + 2s);

    CHECK(result.all_completed());
    CHECK(result.worker_count() == 9);
    for (const auto& cgroup : first)
        for (const auto& w : cgroup) {
            CHECK(w.iterations > 0);
            CHECK(w.wall_time >= 200ms);
            CHECK(w.cpu_time > 0ns);
        }

    REQUIRE(box.sent.size() == 9);
    CHECK(box.sent[0].step == 0);
    CHECK(box.sent[0].cgroup == "load");
    CHECK(box.sent[0].iterations == first.cgroups()[0].workers()[0].iterations);
    CHECK(box.sent[3].cgroup == "a/b");
    CHECK(box.sent[3].index == 0);
    CHECK(box.sent[8].step == 1);
    CHECK(box.sent[8].index == 3);  // counted over the cgroup's groups
    CHECK(box.sent[8].completed);
    CHECK(box.is_clean());
}

TEST_CASE("workers are in their cgroup, with the default policy, under an executor that is not",
          "[guest][scenario]") {
    sandbox box;
    const context ctx({.duration = 300ms});
    std::string cgroup_of_worker;
    int policy_of_worker = -1;
    std::thread observer([&] {
        if (!wait_until_populated(box.root()))
            return;
        for (const auto pid : processes_in(box.path("deep/load"))) {
            cgroup_of_worker =
                read_kernel_file("/proc/" + std::to_string(pid) + "/cgroup").value_or("");
            policy_of_worker = ::sched_getscheduler(pid);
        }
    });
    const int policy_before = ::sched_getscheduler(0);
    const auto result = run_scenario(ctx, {step{.setup = {named("deep/load").workers(1)}}});
    observer.join();
    CHECK_THAT(cgroup_of_worker, ContainsSubstring("/ktstr/deep/load\n"));
    CHECK(policy_of_worker == SCHED_OTHER);
    CHECK(::sched_getscheduler(0) == policy_before);
    CHECK(result.all_completed());
}

TEST_CASE("the executor is above the scheduler while it conducts, and not a moment longer",
          "[guest][scenario]") {
    int before = -1, during = -1, after = -1;
    // In a thread of its own, which starts out plain whatever other tests have done to theirs.
    std::thread([&] {
        before = ::sched_getscheduler(0);
        {
            const above_scheduler raised;
            during = ::sched_getscheduler(0);
        }
        after = ::sched_getscheduler(0);
    }).join();
    CHECK(before == SCHED_OTHER);
    CHECK(after == before);
    if (::geteuid() != 0)
        SKIP("only root may use SCHED_FIFO for certain");
    CHECK(during == (SCHED_FIFO | SCHED_RESET_ON_FORK));
}

TEST_CASE("a worker that dies is in the result as that", "[guest][scenario]") {
    sandbox box;
    const context ctx({.duration = 300ms});
    std::thread killer([&] {
        if (wait_until_populated(box.root()))
            for (const auto pid : processes_in(box.path("victim")))
                ::kill(pid, SIGKILL);
    });
    const auto result =
        run_scenario(ctx, {step{.setup = {named("victim").workers(1), named("other").workers(2)}}});
    killer.join();
    CHECK(result.completed_workers() == 2);
    REQUIRE(result.steps[0].cgroup("victim") != nullptr);
    const auto& victim = result.steps[0].cgroup("victim")->workers().at(0);
    CHECK_FALSE(victim.completed);
    CHECK(victim.exit_status == "killed by SIGKILL");
    CHECK(result.steps[0].held() >= 300ms);
    REQUIRE(box.sent.size() == 3);
    CHECK(box.sent[0].exit_text == "killed by SIGKILL");
    CHECK_FALSE(box.sent[0].completed);
    CHECK(box.sent[0].fault == "killed by SIGKILL");
    CHECK(box.sent[1].fault == "");
    CHECK(box.is_clean());
}

TEST_CASE("an exception in the middle leaves nothing behind", "[guest][scenario]") {
    sandbox box;
    const context ctx({.duration = 10ms});
    const int policy_before = ::sched_getscheduler(0);
    SECTION("from the sink") {
        worker_sink() = [](const wire::worker&) { throw std::logic_error("sink"); };
        CHECK_THROWS_AS(run_scenario(ctx, {step{.setup = {named("load")}}}), std::logic_error);
    }
    SECTION("from a cgroup that the kernel refuses, after another one was made") {
        // The name of a file that every cgroup has, so that mkdir fails.
        CHECK_THROWS_AS(run_scenario(ctx, {step{.setup = {named("load"), named("cpu.stat")}}}),
                        scenario_error);
    }
    CHECK(box.is_clean());
    CHECK(::sched_getscheduler(0) == policy_before);
}

TEST_CASE("a scenario without steps does nothing", "[guest][scenario]") {
    const context ctx({.duration = 1h});
    CHECK(run_scenario(ctx, {}).steps.empty());
}

TEST_CASE("a step without cgroups holds, and needs no cgroups", "[guest][scenario]") {
    scenario_cgroup_parent() = "/nonexistent";
    const context ctx({.duration = 1h});
    const auto result = run_scenario(ctx, {step{.ops = {no_op{}}, .hold = hold::fixed(20ms)}});
    scenario_cgroup_parent().clear();
    REQUIRE(result.steps.size() == 1);
    CHECK(result.steps[0].held() >= 20ms);
    CHECK(result.worker_count() == 0);
}

TEST_CASE("no cgroups on the machine is infrastructure, with the path in the message",
          "[guest][scenario]") {
    const scratch_directory files;
    scenario_cgroup_parent() = files.path();
    const context ctx({.duration = 1h});
    try {
        (void)run_scenario(ctx, {step{.setup = {named("load")}}});
        FAIL("it should have been refused");
    } catch (const scenario_error& e) {
        CHECK(e.why() == scenario_error::cause::infrastructure);
        CHECK_THAT(e.what(), ContainsSubstring(files.path().string()));
        CHECK_THAT(e.what(), ContainsSubstring("no cgroup version 2"));
    }
    scenario_cgroup_parent().clear();
    CHECK(std::filesystem::is_empty(files.path()));
}

TEST_CASE("mistakes in the steps are told before anything is done", "[guest][scenario]") {
    // An hour, if it were noticed late. What is a mistake: unit/scenario.
    CHECK(refusal({step{.setup = {named("load")}, .hold = hold::fixed(1h)},
                   step{.setup = {named("")}}}) == "step 1: cgroup \"\": the name is empty");
    CHECK_THAT(refusal({step{.setup = {named("load")}, .hold = hold::frac(-1)}}),
               ContainsSubstring("above 0 and at most 1"));
}

TEST_CASE("a worker that died or never worked fails its test", "[guest][scenario]") {
    const worker_report good{.iterations = 1, .completed = true};
    const worker_report dead{.iterations = 9, .exit_status = "killed by SIGSEGV"};
    const worker_report idle{.completed = true};
    CHECK(guest::detail::fault_of(good, 1s) == "");
    CHECK(guest::detail::fault_of(dead, 1s) == "killed by SIGSEGV");
    CHECK(guest::detail::fault_of(dead, 0s) == "killed by SIGSEGV");
    CHECK(guest::detail::fault_of(idle, 1s) == "it never did one turn of its work");
    CHECK(guest::detail::fault_of(idle, 0s) == "");
}

TEST_CASE("limits scale with dilation, and never shrink", "[guest][scenario]") {
    CHECK(scenario_limits::scaled(10).stop == 10 * scenario_limits{}.stop);
    CHECK(scenario_limits::scaled(0.5).stop == scenario_limits{}.stop);
}
