// SPDX-License-Identifier: MIT
#include <ktstr/ktstr.hpp>
#include <ktstr/scenario/validate.hpp>

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <string>
#include <variant>
#include <vector>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

std::string problem_of(std::vector<step> steps) {
    return scenario_problem(steps).value_or("");
}
step with(cgroup_def def) {
    return step{.setup = {std::move(def)}};
}
cgroup_def named(std::string name) {
    return cgroup_def{.name = std::move(name)};
}

static_assert(hold::frac(0.5).length(4s) == 2s);
static_assert(hold::fixed(2s).length(12s) == 2s);
static_assert(hold::full.length(12s) == 12s);
static_assert(hold::full == hold::frac(1.0));
static_assert(hold::full != hold::fixed(0s));
static_assert(!hold::frac(-1).is_fixed());

}  // namespace

TEST_CASE("the words of the reference test build the data they say") {
    context ctx({});
    const std::vector<step> steps{
        step{.setup = {ctx.cgroup_def("load").workers(8).work(spin_wait{})}, .hold = hold::full}};
    REQUIRE(steps.size() == 1);
    CHECK(steps[0].ops.empty());
    CHECK(steps[0].hold == hold::full);
    REQUIRE(steps[0].setup.size() == 1);
    const cgroup_def& load = steps[0].setup[0];
    CHECK(load.name == "load");
    CHECK(load.worker_count == 8);
    REQUIRE(load.work_groups.size() == 1);
    CHECK(std::get<spin_wait>(load.work_groups[0].kind).spins == 1024);
    CHECK_FALSE(load.work_groups[0].workers.has_value());
}

TEST_CASE("the builder works on a named value too") {
    cgroup_def def{.name = "a"};
    def.workers(3).work(spin_wait{.spins = 7}).work({.kind = spin_wait{}, .workers = 1});
    REQUIRE(def.work_groups.size() == 2);
    const auto groups = def.resolved_groups();
    REQUIRE(groups.size() == 2);
    CHECK(groups[0].workers == 3);
    CHECK(std::get<spin_wait>(groups[0].kind).spins == 7);
    CHECK(groups[1].workers == 1);
}

TEST_CASE("a cgroup that says nothing gets two spinning workers") {
    const auto groups = named("a").resolved_groups();
    REQUIRE(groups.size() == 1);
    CHECK(groups[0].workers == cgroup_def::default_workers);
    CHECK(groups[0].kind == work_kind(spin_wait{}));
}

TEST_CASE("a step holds for the whole duration unless it says otherwise") {
    CHECK(step{}.hold == hold::full);
    CHECK(step{.hold = hold::fixed(2s)}.hold.length(1h) == 2s);
    CHECK(hold::frac(0.25).length(10ms) == 2500us);
}

TEST_CASE("a scenario in order has no problem") {
    CHECK(problem_of({}).empty());
    CHECK(problem_of({step{}}).empty());
    CHECK(problem_of({with(named("load").workers(8).work(spin_wait{}))}).empty());
    CHECK(problem_of({with(named("a")), with(named("a"))}).empty());
    CHECK(problem_of({step{.setup = {named("a"), named("b")}, .hold = hold::fixed(0s)}}).empty());
    CHECK(problem_of({with(named("a").workers(max_workers))}).empty());
    CHECK(problem_of({with(named("...").workers(1))}).empty());
}

TEST_CASE("each mistake in a scenario is named, with its step") {
    CHECK(problem_of({step{}, with(named(""))}) == "step 1: a cgroup has no name");
    CHECK(problem_of({with(named(".."))}) == "step 0: '..' is no name for a cgroup");
    CHECK(problem_of({with(named("a/b"))}).find("'a/b'") != std::string::npos);
    CHECK_FALSE(problem_of({with(named(std::string("a\0b", 3)))}).empty());
    CHECK_FALSE(problem_of({with(named("a\nb"))}).empty());
    CHECK_FALSE(problem_of({with(named(std::string(256, 'a')))}).empty());
    CHECK(problem_of({with(named(std::string(255, 'a')))}).empty());
    CHECK(problem_of({with(named("a").workers(0))}) ==
          "step 0: cgroup 'a': a work group has 1 to 4096 workers, not 0");
    CHECK_FALSE(problem_of({with(named("a").workers(-1))}).empty());
    CHECK_FALSE(problem_of({with(named("a").workers(max_workers + 1))}).empty());
    CHECK_FALSE(problem_of({with(named("a").work(work_spec{.workers = 0}))}).empty());
    CHECK(problem_of({with(named("a").work(spin_wait{.spins = 0}))}) ==
          "step 0: cgroup 'a': spin_wait needs at least one spin, not 0");
    CHECK(problem_of({step{.setup = {named("a"), named("b"), named("a")}}}) ==
          "step 0: two cgroups are called 'a'");
    for (const double share : {0.0, -1.0, 1.5, std::numeric_limits<double>::quiet_NaN(),
                               std::numeric_limits<double>::infinity()}) {
        INFO(share);
        CHECK_FALSE(problem_of({step{.hold = hold::frac(share)}}).empty());
    }
    CHECK_FALSE(problem_of({step{.hold = hold::fixed(-1s)}}).empty());
}

TEST_CASE("results add up over workers, cgroups and steps") {
    const worker_report good{.cgroup = "a",
                             .index = 0,
                             .pid = 7,
                             .iterations = 10,
                             .wall_ns = 5,
                             .cpu_ns = 3,
                             .completed = true};
    worker_report bad = good;
    bad.index = 1;
    bad.completed = false;
    bad.exit_status = "killed by signal 9";
    scenario_result result{
        .steps = {
            {.hold_ns = 1,
             .cgroups = {{.name = "a", .workers = {good, bad}}, {.name = "b", .workers = {good}}}},
            {.hold_ns = 1, .cgroups = {{.name = "a", .workers = {good}}}}}};
    CHECK(result.iterations() == 40);
    CHECK(result.cpu_ns() == 12);
    CHECK(result.worker_count() == 4);
    CHECK(result.completed_workers() == 3);
    CHECK_FALSE(result.all_completed());
    CHECK(result.steps[0].iterations() == 30);
    REQUIRE(result.steps[0].cgroup("a") != nullptr);
    CHECK(result.steps[0].cgroup("a")->iterations() == 20);
    CHECK(result.steps[1].cgroup("b") == nullptr);
    result.steps[0].cgroups[0].workers[1].completed = true;
    CHECK(result.all_completed());
    CHECK(scenario_result{}.iterations() == 0);
}

TEST_CASE("a scenario error says whose fault it is") {
    CHECK(scenario_error("no cgroup2").why() == scenario_error::cause::infrastructure);
    const scenario_error mistake("no workers", scenario_error::cause::mistake_in_test);
    CHECK(mistake.why() == scenario_error::cause::mistake_in_test);
    CHECK(std::string(mistake.what()) == "no workers");
}
