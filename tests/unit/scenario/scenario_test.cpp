// SPDX-License-Identifier: MIT
#include <ktstr/ktstr.hpp>
#include <ktstr/scenario/mistakes.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <variant>
#include <vector>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

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
    CHECK(load.work_groups[0].kind.as<spin_wait>().spins == 1024);
    CHECK_FALSE(load.work_groups[0].workers.has_value());
}

TEST_CASE("the builder works on a named value too") {
    cgroup_def def{.name = "a"};
    def.workers(3).work(spin_wait{.spins = 7}).work({.kind = spin_wait{}, .workers = 1});
    REQUIRE(def.work_groups.size() == 2);
    const auto groups = def.resolved_groups();
    REQUIRE(groups.size() == 2);
    CHECK(groups[0].workers == 3);
    CHECK(groups[0].kind.as<spin_wait>().spins == 7);
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

TEST_CASE("a scenario in order has no mistake") {
    const auto fine = [](std::vector<step> steps) { return mistake_in(steps); };
    CHECK(fine({}) == "");
    CHECK(fine({step{}}) == "");
    CHECK(fine({with(named("load").workers(8).work(spin_wait{}))}) == "");
    // The same name in two steps, a name that is the start of another, siblings.
    CHECK(fine({with(named("a")), with(named("a"))}) == "");
    CHECK(fine({step{.setup = {named("a"), named("ab"), named("b/a"), named("b/c")}}}) == "");
    CHECK(fine({step{.setup = {named("a"), named("b")}, .hold = hold::fixed(0s)}}) == "");
    CHECK(fine({with(named("a").workers(max_workers))}) == "");
    CHECK(fine({with(named("...").workers(1).workers_may_fail())}) == "");
    CHECK(fine({step{.hold = hold::frac(0.001)}}) == "");
}

TEST_CASE("each mistake in a scenario is named, with its step") {
    // In the second step: all of them are tried before the first begins.
    const auto mistake = [](step bad) { return mistake_in(std::vector{step{}, std::move(bad)}); };
    CHECK(mistake(with(named(""))) == "step 1: cgroup \"\": the name is empty");
    CHECK(mistake(with(named("../out"))) == "step 1: cgroup \"../out\": the name holds \"..\"");
    for (const int workers : {0, -3, max_workers + 1})
        CHECK(mistake(with(named("a").workers(workers))) ==
              "step 1: cgroup \"a\": a work group has 1 to 4096 workers, not " +
                  std::to_string(workers));
    CHECK(mistake(with(named("a").work(work_spec{.workers = 0}))) != "");
    CHECK(mistake(with(named("a").work(spin_wait{.spins = 0}))) ==
          "step 1: cgroup \"a\": spin_wait needs 1 spin or more, not 0");
    CHECK(mistake({.setup = {named("a"), named("b"), named("a")}}) ==
          "step 1: cgroup \"a\" is set up twice");
    CHECK(mistake({.setup = {named("a"), named("a/b")}})
              .starts_with("step 1: cgroup \"a\" has workers and so can't hold cgroup \"a/b\""));
    for (const double share : {0.0, -1.0, 1.5, std::numeric_limits<double>::quiet_NaN(),
                               std::numeric_limits<double>::infinity()}) {
        INFO(share);
        CHECK(mistake({.hold = hold::frac(share)})
                  .starts_with("step 1: a hold's share of the duration is above 0 and at most 1"));
    }
    CHECK(mistake({.hold = hold::fixed(-1s)}) == "step 1: the hold is negative");
}

TEST_CASE("names that can't be cgroups are refused with a reason") {
    for (const char* bad : {"", "/abs", "a//b", "a/", "..", "a/../b", ".", "a/.", "cgroup.procs",
                            "a/cgroup.kill", "line\nbreak"}) {
        INFO(bad);
        CHECK(mistake_in_cgroup_name(bad) != "");
    }
    CHECK(mistake_in_cgroup_name(std::string(256, 'x')) != "");
    CHECK(mistake_in_cgroup_name(std::string_view("a\0b", 3)) != "");
    for (const char* good : {"load", "a/b", "a/b/c", "..a", "a b", "cgroup", "-"}) {
        INFO(good);
        CHECK(mistake_in_cgroup_name(good) == "");
    }
    CHECK(mistake_in_cgroup_name(std::string(255, 'x')) == "");
}

TEST_CASE("results add up over workers, cgroups and steps") {
    const worker_report good{.cgroup = "a",
                             .index = 0,
                             .pid = 7,
                             .iterations = 10,
                             .wall_time = 5ms,
                             .cpu_time = 3ms,
                             .completed = true};
    worker_report bad = good;
    bad.index = 1;
    bad.completed = false;
    bad.exit_status = "killed by SIGSEGV";
    const scenario_result result{.steps = {step_result(1s, {{"a", {good, bad}}, {"b", {good}}}),
                                           step_result(1s, {{"a", {good}}})}};
    CHECK(result.iterations() == 40);
    CHECK(result.cpu_time() == 12ms);
    CHECK(result.worker_count() == 4);
    CHECK(result.completed_workers() == 3);
    CHECK_FALSE(result.all_completed());
    CHECK(result.steps[0].iterations() == 30);
    CHECK(result.steps[0].held() == 1s);
    REQUIRE(result.steps[0].cgroup("a") != nullptr);
    CHECK(result.steps[0].cgroup("a")->iterations() == 20);
    CHECK(result.steps[0].cgroup("a")->cpu_time() == 6ms);
    CHECK_FALSE(result.steps[0].cgroup("a")->all_completed());
    CHECK(result.steps[0].cgroup("b")->all_completed());
    CHECK(result.steps[1].cgroup("b") == nullptr);
    CHECK(result.steps[1].all_completed());
    CHECK(scenario_result{}.iterations() == 0);
    CHECK(bad.to_text() == "a[0][1]: killed by SIGSEGV");
    CHECK(good.to_text() == "a[0][0]: 10 iterations");
}

TEST_CASE("a cgroup's share is its part of its step, and no number where nobody ran") {
    const worker_report ran{.cpu_time = 30ms};
    const worker_report idle{};
    const step_result both(1s, {{"a", {ran}}, {"b", {ran, ran}}, {"c", {idle}}});
    CHECK(std::abs(both.cgroup("a")->share() - 1.0 / 3) < 1e-9);
    CHECK(std::abs(both.cgroup("b")->share() - 2.0 / 3) < 1e-9);
    CHECK(both.cgroup("c")->share() == 0);
    // Neither "at least" nor "at most" may hold of what was never measured.
    const step_result nobody(1s, {{"a", {idle}}});
    CHECK_FALSE(nobody.cgroup("a")->share() >= 0);
    CHECK_FALSE(nobody.cgroup("a")->share() <= 1);
    // A copy, or what is left of a larger result, keeps its meaning.
    const cgroup_report kept = *both.cgroup("a");
    CHECK(kept.share() == both.cgroup("a")->share());
}

TEST_CASE("a scenario error says whose fault it is") {
    CHECK(scenario_error("no cgroup2").why() == scenario_error::cause::infrastructure);
    const scenario_error mistake("no workers", scenario_error::cause::mistake_in_test);
    CHECK(mistake.why() == scenario_error::cause::mistake_in_test);
    CHECK(std::string(mistake.what()) == "no workers");
}

TEST_CASE("work that needs partners has as many workers, or several times as many",
          "[scenario][work]") {
    using namespace ktstr::work;
    const auto fault = [](cgroup_def def) { return mistake_in(def); };
    const auto named = [] { return cgroup_def{.name = "a"}; };
    CHECK(named().work(pipe_io{}).resolved_groups()[0].workers == 2);
    CHECK(named().work(futex_fan_out{.fan_out = 6}).resolved_groups()[0].workers == 7);
    CHECK(named()
              .work(sequence{{{futex_fan_out{}, 1ms}, {pipe_io{}, 1ms}}})
              .resolved_groups()[0]
              .workers == 10);
    CHECK(fault(named().workers(4).work(pipe_io{})) == "");
    CHECK(fault(named().workers(3).work(pipe_io{})) ==
          "pipe_io takes 2 workers together, or a multiple of that, not 3");
    CHECK(fault(named().workers(4).work(sequence{{{barrier{.parties = 3}, 1ms}}})) ==
          "this sequence takes 3 workers together, or a multiple of that, not 4");
    CHECK(fault(named().work(wake_chain{.depth = 1})) == "wake_chain has 2 to 32 workers, not 1");
    CHECK(fault(named().work(wake_chain{.depth = 33})) == "wake_chain has 2 to 32 workers, not 33");
    CHECK(fault(named().work(mixed{.spins = -1})) == "mixed needs 0 spins or more, not -1");
    CHECK(fault(named().work(bursty{.sleep = 0ns})) == "bursty needs a sleep above 0");
    CHECK(fault(named().work(custom{})) == "custom has no function to run");
    CHECK(fault(named().work(sequence{{{mixed{}, 0ms}}})) ==
          "a phase of work needs a time above 0");
    CHECK(fault(named().work(sequence{{{mixed{.spins = -1}, 1ms}}})) ==
          "mixed needs 0 spins or more, not -1");
    // What is no number of workers at all is a mistake as well, and nobody divides by it.
    CHECK(fault(named().work(sequence{{{futex_fan_out{.fan_out = -1}, 1ms}}})) ==
          "futex_fan_out has 1 to 30 receivers, not -1");
    CHECK(fault(named().work(sequence{{{pipe_io{}, 1ms}, {wake_chain{.depth = 0}, 1ms}}})) ==
          "wake_chain has 2 to 32 workers, not 0");
    CHECK(fault(named().work(sequence{{{pipe_io{}, 1ms}, {barrier{.parties = 1 << 30}, 1ms}}})) ==
          "barrier has 2 to 30 parties, not 1073741824");
    // Nor adds up what has no end.
    std::vector<work_phase> coprime;
    for (const int depth : {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31})
        coprime.push_back({wake_chain{.depth = depth}, 1ms});
    CHECK(fault(named().work(sequence{coprime})).starts_with("a work group has 1 to 4096 workers"));
    CHECK(fault(named().work(page_fault_churn{.kib = 64, .touches = 16})) == "");
    CHECK(fault(named().work(page_fault_churn{.kib = 64, .touches = 17})) ==
          "page_fault_churn has 1 to 16 touches of pages of 4 KiB, not 17");
    CHECK(fault(named().work(sequence{std::vector<work_phase>(17, {mixed{}, 1ms})})) ==
          "work has at most 16 phases, not 17");
    // Defaults are no mistakes.
#define KTSTR_TEST_KIND(name)                                         \
    if constexpr (!std::is_same_v<ktstr::work::name, custom>) {       \
        INFO(#name);                                                  \
        CHECK(fault(named().work(ktstr::work::name{})) == "");        \
        CHECK(to_text(work_kind(ktstr::work::name{}).id()) == #name); \
    }
    KTSTR_DETAIL_WORK_KINDS(KTSTR_TEST_KIND)
#undef KTSTR_TEST_KIND
}

TEST_CASE("kinds of work are compared by what they do", "[scenario][work]") {
    using namespace ktstr::work;
    static_assert(work_kind(mixed{.spins = 3}) == work_kind(mixed{.spins = 3}));
    static_assert(!(work_kind(mixed{.spins = 3}) == work_kind(mixed{.spins = 4})));
    static_assert(!(work_kind(mixed{}) == work_kind(ktstr::work::spin_wait{})));
    static_assert(work_kind(pipe_io{}).members() == 2);
    const work_kind made = wake_chain{.depth = 7, .by = wake_path::futex, .work = 3us};
    CHECK(made.as<wake_chain>().depth == 7);
    CHECK(made.as<wake_chain>().by == wake_path::futex);
    CHECK(made.as<wake_chain>().work == 3us);
}
