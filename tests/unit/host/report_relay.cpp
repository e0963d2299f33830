// SPDX-License-Identifier: MIT
#include <ktstr/host/report/relay.hpp>

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

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

template <class Event>
std::optional<Event> across(const Event& event) {
    std::string text;
    relay_reporter inside(std::make_unique<text_sink>(text));
    inside.on(event);
    std::optional<Event> got;
    CHECK(text.back() == '\n');
    CHECK(text.find('\n') == text.size() - 1);
    const bool read = relay_reader().read(text, [&](auto e) {
        if constexpr (std::is_same_v<decltype(e), Event>)
            got = std::move(e);
    });
    CHECK(read);
    return got;
}

}  // namespace

TEST_CASE("an attempt crosses with all that is known and unknown of it", "[relay]") {
    test_finished e;
    e.name = "t";
    e.result = verdict::fail;
    e.why = reason::lockup;
    e.message = "line\nwith \"quotes\" and \xff bytes";
    e.attempt = 2;
    e.dilation = 9.5;
    e.kernel = "7.3.4-\xff";
    e.steal_host_ns = 812345678;
    e.mask = "cpuset";
    e.file = "a.cpp";
    e.line = 12;
    e.failed_checks = {{"t", 2, "a.cpp", 13, "CHECK", "x == y", "1 == 2"}};
    e.failed_check_count = 7;
    e.evidence = {"one"};
    e.notes = {"two"};
    e.output_tail = {"three"};
    e.output_lines = 99;
    e.console_tail = {"four"};
    e.outcome = final_outcome{verdict::fail, reason::lockup, true, 3};
    const auto got = across(e);
    REQUIRE(got);
    CHECK(got->result == verdict::fail);
    CHECK(got->why == reason::lockup);
    CHECK(got->message == valid_utf8(e.message));
    CHECK(got->kernel == valid_utf8(*e.kernel));
    CHECK(got->attempt == 2);
    CHECK(got->dilation == 9.5);
    CHECK(got->steal_host_ns == 812345678);
    CHECK(got->mask == "cpuset");
    CHECK_FALSE(got->steal_guest_ticks);
    CHECK_FALSE(got->checks);
    REQUIRE(got->failed_checks.size() == 1);
    CHECK(got->failed_checks[0].expansion == "1 == 2");
    CHECK(got->failed_check_count == 7);
    CHECK(got->evidence == e.evidence);
    CHECK(got->notes == e.notes);
    CHECK(got->output_tail == e.output_tail);
    CHECK(got->output_lines == 99);
    CHECK(got->console_tail == e.console_tail);
    CHECK(got->outcome == e.outcome);
}

TEST_CASE("the smaller events cross too", "[relay]") {
    CHECK(across(stage_changed{"t", "body", {}})->stage == "body");
    CHECK(across(test_waiting{"t", "waiting for 2 host CPUs"})->why == "waiting for 2 host CPUs");
    CHECK(across(test_output{"t", output_stream::err, "a\nb"})->bytes == "a\nb");
    CHECK(across(check_failed{"t", 1, "f", 2, "REQUIRE", "e", "x"})->line == 2);
    CHECK(across(attempt_file{"t", 1, "console.log", "text"})->content == "text");
    const auto started =
        across(test_started{"t", "f", 3, "1n2l4c1t", 1, std::chrono::milliseconds(42), {}});
    REQUIRE(started);
    CHECK(started->timeout == std::chrono::milliseconds(42));
}

TEST_CASE("what is no event is left to the caller", "[relay]") {
    const auto ignore = [](const auto&) { FAIL("no event was sent"); };
    const relay_reader reader;
    CHECK_FALSE(reader.read("ktstr: cannot find QEMU", ignore));
    CHECK_FALSE(reader.read("{\"event\":\"finished\"}", ignore));
    CHECK_FALSE(reader.read("{\"event\":\"stage\",\"test\":3}", ignore));
    CHECK_FALSE(reader.read("[1,2]", ignore));
    CHECK(reader.read("{\"event\":\"end\"}", ignore));
}
