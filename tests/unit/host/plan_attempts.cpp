// SPDX-License-Identifier: MIT
// How often a test runs, how it came out of it, and what the process says in the end.
#include <ktstr/host/plan/attempts.hpp>
#include <ktstr/host/report/exit_status.hpp>
#include <ktstr/host/report/tally.hpp>

#include <catch2/catch_test_macros.hpp>

#include <optional>
#include <utility>
#include <vector>

using namespace ktstr;
using namespace ktstr::host;

namespace {

constexpr auto none = reason::none;
using step = std::pair<verdict, reason>;
const step pass{verdict::pass, none};
const step fail{verdict::fail, reason::check};
const step panic{verdict::fail, reason::panic};
const step unsure{verdict::inconclusive, reason::infrastructure};
const step lacking{verdict::skip, reason::requirement};
const step declined{verdict::skip, reason::skipped};

/// The outcome after exactly these attempts; nothing when it ends early or goes on.
std::optional<final_outcome> run(const attempt_policy& policy, const std::vector<step>& steps) {
    attempts a(policy);
    for (std::size_t i = 0; i < steps.size(); ++i) {
        CHECK(a.current() == static_cast<int>(i) + 1);
        const auto outcome = a.record(steps[i].first, steps[i].second);
        if (outcome)
            return i + 1 == steps.size() ? outcome : std::nullopt;
    }
    return std::nullopt;
}

std::optional<final_outcome> ends(step how, int count, bool flaky = false) {
    return final_outcome{how.first, how.second, flaky, count};
}

}  // namespace

TEST_CASE("once is the default", "[plan][attempts]") {
    for (const step& how : {pass, fail, unsure, lacking, declined})
        CHECK(run({}, {how}) == ends(how, 1));
}

TEST_CASE("a retry after a failure that passes is a flaky pass", "[plan][attempts]") {
    const attempt_policy twice{std::nullopt, false, 2};
    CHECK(run(twice, {pass}) == ends(pass, 1));
    CHECK(run(twice, {fail, pass}) == ends(pass, 2, true));
    CHECK(run(twice, {unsure, panic, pass}) == ends(pass, 3, true));
}

TEST_CASE("retries end, and the worst of them stands", "[plan][attempts]") {
    const attempt_policy twice{std::nullopt, false, 2};
    CHECK(run(twice, {fail, fail, fail}) == ends(fail, 3));
    CHECK(run(twice, {unsure, panic, unsure}) == ends(panic, 3));
    CHECK(run(twice, {fail, fail}) == std::nullopt);  // one is left
}

TEST_CASE("a skip on a retry does not bury the failure", "[plan][attempts]") {
    CHECK(run({std::nullopt, false, 2}, {fail, declined}) == ends(fail, 2));
    CHECK(run({std::nullopt, false, 2}, {lacking}) == ends(lacking, 1));
}

TEST_CASE("of repetitions the worst counts, to the end", "[plan][attempts]") {
    const attempt_policy thrice{3, false, 0};
    CHECK(run(thrice, {pass, pass, pass}) == ends(pass, 3));
    CHECK(run(thrice, {pass, fail, pass}) == ends(fail, 3, true));
    CHECK(run(thrice, {unsure, fail, panic}) == ends(fail, 3));
    CHECK(run(thrice, {pass, pass, unsure}) == ends(unsure, 3, true));
    CHECK(run(thrice, {pass, declined, pass}) == ends(pass, 3));
    CHECK(run(thrice, {declined, declined, declined}) == ends(declined, 3));
}

TEST_CASE("what the host lacks is asked for once", "[plan][attempts]") {
    CHECK(run({3, false, 0}, {lacking}) == ends(lacking, 1));
    CHECK(run({std::nullopt, true, 0}, {lacking}) == ends(lacking, 1));
}

TEST_CASE("until-fail stops at the first that is no pass", "[plan][attempts]") {
    const attempt_policy forever{std::nullopt, true, 0};
    CHECK(run(forever, {pass, pass, pass, fail}) == ends(fail, 4, true));
    CHECK(run(forever, {pass, unsure}) == ends(unsure, 2, true));
    CHECK(run(forever, std::vector<step>(1000, pass)) == std::nullopt);
    CHECK(run(forever, {declined}) == ends(declined, 1));
    const attempt_policy at_most{3, true, 0};
    CHECK(run(at_most, {pass, pass, pass}) == ends(pass, 3));
    CHECK(run(at_most, {pass, fail}) == ends(fail, 2, true));
}

TEST_CASE("whether a pass is followed by another attempt is known before it ends",
          "[plan][attempts]") {
    CHECK_FALSE(attempts({.repeat = {}, .until_fail = false, .retries = 3}).repeats());
    CHECK(attempts({.repeat = {}, .until_fail = true, .retries = 0}).repeats());
    attempts twice({.repeat = 2, .until_fail = false, .retries = 0});
    CHECK(twice.repeats());
    CHECK_FALSE(twice.record(verdict::pass, none));
    CHECK_FALSE(twice.repeats());
    CHECK(twice.record(verdict::pass, none));
}

TEST_CASE("each repetition has its own retries", "[plan][attempts]") {
    const attempt_policy both{2, false, 1};
    CHECK(run(both, {fail, pass, fail, pass}) == ends(pass, 4, true));
    CHECK(run(both, {fail, pass, fail, fail}) == ends(fail, 4, true));
    const attempt_policy hunt{std::nullopt, true, 1};
    CHECK(run(hunt, {fail, pass, pass, fail, panic}) == ends(fail, 5, true));
}

TEST_CASE("the exit code follows the contract's table", "[plan][exit_status]") {
    const auto status = [](const std::vector<step>& steps, std::size_t selected) {
        std::vector<final_outcome> outcomes;
        for (const auto& [result, why] : steps)
            outcomes.push_back({result, why, false, 1});
        return exit_status(outcomes, selected);
    };
    CHECK(status({pass, pass}, 2) == 0);
    CHECK(status({pass, lacking}, 2) == 0);
    CHECK(status({pass, fail, unsure}, 3) == 1);
    CHECK(status({pass, unsure, lacking}, 3) == 2);
    CHECK(status({lacking}, 1) == 4);
    CHECK(status({lacking, declined}, 2) == 4);
    CHECK(status({lacking, unsure}, 2) == 2);
    CHECK(status({}, 0) == 0);
    // Cut short: what failed has failed, but nothing else may be claimed.
    CHECK(status({fail}, 2) == 1);
    CHECK(status({pass}, 2) == 3);
    CHECK(status({lacking}, 2) == 3);
    CHECK(status({unsure}, 2) == 3);
    CHECK(status({}, 2) == 3);
}

TEST_CASE("a flaky pass is a pass", "[plan][exit_status]") {
    const std::vector<final_outcome> outcomes{{verdict::pass, none, true, 2}};
    CHECK(exit_status(outcomes, 1) == 0);
}

TEST_CASE("the tally counts tests, not attempts", "[report][tally]") {
    tally sum;
    const auto add = [&](const std::string& name, step how, double seconds, bool last,
                         bool flaky = false) {
        test_finished e;
        e.name = name;
        e.result = how.first;
        e.why = how.second;
        e.total_s = seconds;
        if (last)
            e.outcome = final_outcome{how.first, how.second, flaky, 1};
        sum.add(e);
    };
    add("a", fail, 3, false);
    add("a", pass, 4, true, true);
    add("b", fail, 5, true);
    add("c", declined, 1, true);
    for (int i = 0; i < 5; ++i)
        add("d" + std::to_string(i), pass, 2 + i * 0.1, true);
    const auto end = sum.finish(8, 42, 9.5);
    CHECK(end.finished() == 8);
    CHECK(end.passed == 6);
    CHECK(end.failed == 1);
    CHECK(end.skipped == 1);
    CHECK(end.inconclusive == 0);
    CHECK(end.flaky == std::vector<std::string>{"a"});
    CHECK(end.exit_code == 1);
    CHECK(end.seed == 42);
    REQUIRE(end.slowest.size() == 5);
    CHECK(end.slowest[0].name == "a");
    CHECK(end.slowest[0].seconds == 7);
    CHECK(end.slowest[1].name == "b");
    CHECK(end.slowest[2].name == "d4");
    CHECK(end.slowest[4].name == "d2");
}
