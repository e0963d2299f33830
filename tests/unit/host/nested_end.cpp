// SPDX-License-Identifier: MIT
// Whether a nested run is what it says it is: its exit status against its tests, and how long it may go
// without the end of one.
#include <ktstr/host/nested/nested.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

using namespace ktstr;
using namespace ktstr::host;

namespace {

class text_sink final : public sink {
public:
    explicit text_sink(std::string& out) : out_(out) {}
    void write(std::string_view bytes) override { out_ += bytes; }

private:
    std::string& out_;
};

const test_case one{"one", "a.cpp", 3, {}, nullptr};

/// A run of one test that has come to exit code `code` by its events, and what is made of its status.
std::optional<std::string> judged(int code, int wait_status, bool says_end = true,
                                  std::size_t passed = 1) {
    const options wanted;
    const auto cells = cells_of(one, {.seed = 7});
    fan_out events;
    tally totals;
    relayed_run inside(wanted, cells, events, totals);
    if (says_end) {
        std::string text;
        relay_reporter(std::make_unique<text_sink>(text)).on(run_finished{});
        inside.take(text);
    }
    run_finished finished;
    finished.selected = 1;
    finished.passed = passed;
    finished.exit_code = code;
    return host::detail::why_ended(result<int>(wait_status), inside, finished);
}

}  // namespace

TEST_CASE("the exit status of a nested run is that of its tests", "[nested]") {
    CHECK_FALSE(judged(0, 0));
    CHECK_FALSE(judged(1, 1 << 8));
    const auto other = judged(0, 1 << 8);
    REQUIRE(other);
    CHECK(other->find("contradicts its tests") != std::string::npos);
    CHECK(judged(0, SIGSEGV));
    CHECK(judged(0, 0, false));
    const auto early = judged(3, 3 << 8, true, 0);
    REQUIRE(early);
    CHECK(early->find("ended early") != std::string::npos);
    const auto impossible = judged(2, 3 << 8);
    REQUIRE(impossible);
    CHECK(impossible->find("ended early") != std::string::npos);
}

TEST_CASE("a nested run has a limit that follows its longest test and its slowness", "[nested]") {
    const auto cells = cells_of(one, {.seed = 7});
    const auto fast = host::detail::nested_patience(cells, 1);
    CHECK(fast > one.spec.body_limit());
    CHECK(host::detail::nested_patience(cells, 0.1) == fast);
    CHECK(host::detail::nested_patience(cells, 10) > fast);
    CHECK(host::detail::nested_patience(cells, 10) < std::chrono::hours(6));
}
