// SPDX-License-Identifier: MIT
#include <ktstr/check/verdict.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string>
#include <vector>

using ktstr::reason;
using ktstr::verdict;

namespace {

int code(std::initializer_list<verdict> verdicts) {
    return ktstr::exit_code(verdicts);
}

constexpr std::array all_verdicts{verdict::skip, verdict::pass, verdict::inconclusive,
                                  verdict::fail};

static_assert(ktstr::exit_code(std::array{verdict::pass, verdict::fail}) == 1);

}  // namespace

TEST_CASE("fail > inconclusive > pass > skip") {
    CHECK(worse(verdict::fail, verdict::inconclusive) == verdict::fail);
    CHECK(worse(verdict::inconclusive, verdict::pass) == verdict::inconclusive);
    CHECK(worse(verdict::pass, verdict::skip) == verdict::pass);
}

TEST_CASE("worse is a join: commutative, associative, idempotent, skip changes nothing") {
    for (const verdict a : all_verdicts) {
        CHECK(worse(a, a) == a);
        CHECK(worse(a, verdict::skip) == a);
        CHECK(worse(a, verdict::fail) == verdict::fail);
        for (const verdict b : all_verdicts) {
            CHECK(worse(a, b) == worse(b, a));
            for (const verdict c : all_verdicts)
                CHECK(worse(worse(a, b), c) == worse(a, worse(b, c)));
        }
    }
}

TEST_CASE("exit codes") {
    CHECK(code({verdict::pass}) == 0);
    CHECK(code({verdict::pass, verdict::skip}) == 0);
    CHECK(code({verdict::skip, verdict::pass}) == 0);
    CHECK(code({verdict::fail}) == 1);
    CHECK(code({verdict::inconclusive, verdict::fail, verdict::pass, verdict::skip}) == 1);
    CHECK(code({verdict::inconclusive}) == 2);
    CHECK(code({verdict::pass, verdict::inconclusive, verdict::skip}) == 2);
    CHECK(code({verdict::skip}) == 4);
    CHECK(code({verdict::skip, verdict::skip}) == 4);
    CHECK(code({}) == 4);
}

TEST_CASE("names go there and back, and are the contract's") {
    for (const verdict v : all_verdicts)
        CHECK(ktstr::parse_verdict(to_text(v)) == v);
    const std::vector<std::string> names{"none",           "check",
                                         "exception",      "signal",
                                         "exit",           "oom",
                                         "panic",          "oops",
                                         "lockup",         "guest_exit",
                                         "timeout",        "hang",
                                         "boot_timeout",   "scheduler_attach",
                                         "scheduler_exit", "worker",
                                         "oracle",         "topology_mismatch",
                                         "infrastructure", "no_data",
                                         "requirement",    "skipped"};
    for (std::size_t i = 0; i < names.size(); ++i) {
        CHECK(std::string(to_text(static_cast<reason>(i))) == names[i]);
        CHECK(ktstr::parse_reason(names[i]) == static_cast<reason>(i));
    }
    CHECK(static_cast<std::size_t>(reason::skipped) + 1 == names.size());
    CHECK(to_text(reason::guest_exit) == "guest_exit");
    CHECK(to_text(reason::no_data) == "no_data");
}

TEST_CASE("what is no name is refused") {
    CHECK_FALSE(ktstr::parse_verdict("PASS").has_value());
    CHECK_FALSE(ktstr::parse_verdict("").has_value());
    CHECK_FALSE(ktstr::parse_reason("pass").has_value());
    CHECK(to_text(static_cast<verdict>(9)) == "?");
    CHECK(to_text(static_cast<reason>(200)) == "?");
}

TEST_CASE("each reason has its verdict") {
    CHECK(verdict_of(reason::none) == verdict::pass);
    for (const reason r :
         {reason::check, reason::exception, reason::signal, reason::exit, reason::oom,
          reason::panic, reason::oops, reason::lockup, reason::guest_exit, reason::timeout,
          reason::hang, reason::scheduler_attach, reason::scheduler_exit, reason::worker,
          reason::oracle})
        CHECK(verdict_of(r) == verdict::fail);
    for (const reason r :
         {reason::boot_timeout, reason::topology_mismatch, reason::infrastructure, reason::no_data})
        CHECK(verdict_of(r) == verdict::inconclusive);
    for (const reason r : {reason::requirement, reason::skipped})
        CHECK(verdict_of(r) == verdict::skip);
}

TEST_CASE("expect_fail means a check that failed in the body and nothing else") {
    for (int r = 0; r <= static_cast<int>(reason::skipped); ++r)
        CHECK(is_expected_failure(static_cast<reason>(r)) ==
              (static_cast<reason>(r) == reason::check));
}
