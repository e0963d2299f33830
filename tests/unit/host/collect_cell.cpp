// SPDX-License-Identifier: MIT
// What another runner is told of a cell with several attempts: the cause is that of the attempt that
// decided, not of the one that happened to be the last.
#include <ktstr/host/run/collect_cell.hpp>

#include <catch2/catch_test_macros.hpp>

#include <optional>
#include <string>
#include <vector>

using namespace ktstr;
using namespace ktstr::host;

namespace {

struct tried {
    verdict result;
    reason why;
    std::string message;
};
const tried passed{verdict::pass, reason::none, ""};
const tried failed{verdict::fail, reason::check, "a.cpp:7: x == 1 (2 == 1)"};
const tried unsure{verdict::inconclusive, reason::infrastructure, "no machine"};

/// The result of these attempts, each with one failed check of its number where it failed.
cell_result of(const std::vector<tried>& all, const final_outcome& outcome) {
    heard_of_cell heard;
    const auto listener = listen_to(heard);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const int number = static_cast<int>(i) + 1;
        listener->on(test_started{});
        test_finished e;
        e.result = all[i].result;
        e.why = all[i].why;
        e.message = all[i].message;
        e.attempt = number;
        if (e.result == verdict::fail) {
            check_failed check;
            check.line = number;
            listener->on(check);
            e.failed_check_count = 1;
        }
        if (e.result != verdict::pass)
            e.artifacts = "folder " + std::to_string(number);
        if (i + 1 == all.size())
            e.outcome = outcome;
        listener->on(e);
    }
    return heard.result;
}

}  // namespace

TEST_CASE("a failure before passes keeps its cause", "[run][embed]") {
    const auto result = of({passed, failed, passed}, {verdict::fail, reason::check, true, 3});
    CHECK(result.verdict == verdict::fail);
    CHECK(result.message == failed.message);
    CHECK(result.text.find(failed.message) != std::string::npos);
    REQUIRE(result.failed_checks.size() == 1);
    CHECK(result.failed_checks[0].line == 2);
    CHECK(result.failed_check_count == 1);
    CHECK(result.artifacts == "folder 2");
    CHECK(result.attempts == 3);
    CHECK(result.flaky);
    CHECK(result.notes.empty());
}

TEST_CASE("a cause that came before a lesser one is the one that is told", "[run][embed]") {
    const auto result = of({failed, unsure}, {verdict::fail, reason::check, false, 2});
    CHECK(result.message == failed.message);
    REQUIRE(result.failed_checks.size() == 1);
    CHECK(result.failed_checks[0].line == 1);
    CHECK(result.artifacts == "folder 1");
}

TEST_CASE("of attempts that came out alike the last is told", "[run][embed]") {
    const auto result = of({failed, failed}, {verdict::fail, reason::check, false, 2});
    REQUIRE(result.failed_checks.size() == 1);
    CHECK(result.failed_checks[0].line == 2);
    CHECK(result.artifacts == "folder 2");
}

TEST_CASE("a flaky pass says what it came to before, and any other has no cause", "[run][embed]") {
    const auto flaky = of({failed, passed}, {verdict::pass, reason::none, true, 2});
    CHECK(flaky.passed());
    CHECK(flaky.message.empty());
    CHECK(flaky.text.empty());
    CHECK(flaky.failed_checks.empty());
    CHECK(flaky.failed_check_count == 0);
    CHECK(flaky.notes == std::vector<std::string>{"attempt 1: fail, check: " + failed.message +
                                                  "; artifacts: folder 1"});
    // The last repetition was skipped, and the others decide.
    const auto pass = of({passed, {verdict::skip, reason::skipped, "not now"}},
                         {verdict::pass, reason::none, false, 2});
    CHECK(pass.message.empty());
    CHECK(pass.text.empty());
    CHECK(pass.notes.empty());
    CHECK_FALSE(pass.artifacts);
}
