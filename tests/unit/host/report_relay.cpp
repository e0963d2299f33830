// SPDX-License-Identifier: MIT
#include <ktstr/host/report/relay.hpp>

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
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

/// The lines an event is sent as.
template <class Event>
std::vector<std::string> sent(const Event& event) {
    std::string text;
    relay_reporter inside(std::make_unique<text_sink>(text));
    inside.on(event);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        REQUIRE(end != std::string::npos);
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

/// The events of one kind that a line holds.
template <class Event>
std::optional<Event> read(const std::string& line) {
    std::optional<Event> got;
    relay_reader reader;
    const auto what = reader.read(line, [&](auto e) {
        if constexpr (std::is_same_v<decltype(e), Event>)
            got = std::move(e);
    });
    CHECK(what == relay_reader::line::event);
    CHECK(reader.fault().empty());
    return got;
}

template <class Event>
std::optional<Event> across(const Event& event) {
    const auto lines = sent(event);
    REQUIRE(lines.size() == 1);
    return read<Event>(lines.front());
}

/// Why a line is refused; empty when it is not.
std::string fault_of(std::string_view line) {
    relay_reader reader;
    const auto what = reader.read(line, [](const auto&) { FAIL_CHECK("an event was believed"); });
    CHECK((what == relay_reader::line::refused) == !reader.fault().empty());
    return reader.fault();
}

std::string every_byte(std::size_t size) {
    std::string bytes;
    while (bytes.size() < size)
        bytes += static_cast<char>(bytes.size() * 7 + bytes.size() / 256);
    return bytes;
}

/// A finished test as the other end sends it, with one field as `value`.
std::string finished_with(const char* key, const nlohmann::json& value) {
    test_finished e;
    e.name = "t";
    e.failed_checks = {{"t", 1, "a.cpp", 13, "CHECK", "x == y", "1 == 2"}};
    auto line = nlohmann::json::parse(sent(e).front());
    REQUIRE(line.contains(key));
    line[key] = value;
    return line.dump();
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
    e.failed_checks = {{"t", 2, "a.cpp", 13, "CHECK", "x == y", "1 == 2"}};
    e.failed_check_count = 7;
    e.evidence = {"one"};
    e.notes = {"two"};
    e.output_tail = {"three"};
    e.output_lines = 99;
    e.console_tail = {"four"};
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
    CHECK_FALSE(got->outcome);
}

TEST_CASE("the smaller events cross too", "[relay]") {
    CHECK(across(stage_changed{"t", "body", {}})->stage == "body");
    CHECK(across(test_waiting{"t", "waiting for 2 host CPUs"})->why == "waiting for 2 host CPUs");
    CHECK(across(check_failed{"t", 1, "f", 2, "REQUIRE", "e", "x"})->line == 2);
    const auto check = across(check_failed{"t", 1, "f", 2, "CHECK", "e", "x", "m", {"i", "j"}});
    CHECK(check->message == "m");
    CHECK(check->info == std::vector<std::string>{"i", "j"});
    CHECK(across(test_started{"t", "f", 3, "1n2l4c1t", 4, std::nullopt, {}})->attempt == 4);
    const auto metric = across(metric_measured{.test = "t",
                                               .attempt = 2,
                                               .name = "a/b.c_1",
                                               .value = -1.0 / 3,
                                               .unit = "1/s",
                                               .better = better::lower});
    CHECK(metric->test == "t");
    CHECK(metric->attempt == 2);
    CHECK(metric->name == "a/b.c_1");
    CHECK(metric->value == -1.0 / 3);
    CHECK(metric->unit == "1/s");
    CHECK(metric->better == better::lower);
    run_finished end;
    end.aborted = "interrupted";
    CHECK(across(end)->aborted == "interrupted");
    CHECK_FALSE(across(run_finished{})->aborted);
}

TEST_CASE("bytes cross whole and unchanged", "[relay]") {
    const auto bytes = every_byte(std::size_t{1} << 20);
    std::string console;
    for (const auto& line : sent(attempt_file{"t", 3, artifact::console, bytes})) {
        const auto piece = read<attempt_file>(line);
        REQUIRE(piece);
        CHECK(piece->test == "t");
        CHECK(piece->attempt == 3);
        CHECK(piece->file == artifact::console);
        console += piece->content;
    }
    CHECK(console == bytes);
    std::string output;
    for (const auto& line : sent(test_output{"t", output_stream::err, bytes})) {
        const auto piece = read<test_output>(line);
        REQUIRE(piece);
        CHECK(piece->stream == output_stream::err);
        output += piece->bytes;
    }
    CHECK(output == bytes);
}

TEST_CASE("base64 is read back, and nothing else is", "[relay]") {
    CHECK(base64("") == "");
    CHECK(base64("f") == "Zg==");
    CHECK(base64("fo") == "Zm8=");
    CHECK(base64("foo") == "Zm9v");
    CHECK(base64("\xff\xfe\xfd") == "//79");
    for (std::size_t size = 0; size < 300; ++size)
        CHECK(from_base64(base64(every_byte(size))) == every_byte(size));
    for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==",
                             "Zm9v\n", "Zm 9v", "Zm9-", "Zm9\xff"})
        CHECK_FALSE(from_base64(text));
}

TEST_CASE("what is no event is left to the caller", "[relay]") {
    const auto ignore = [](const auto&) { FAIL("no event was sent"); };
    relay_reader reader;
    using line = relay_reader::line;
    CHECK(reader.read("ktstr: cannot find QEMU", ignore) == line::other);
    CHECK(reader.read("[1,2]", ignore) == line::other);
    CHECK(reader.read("{}", ignore) == line::other);
    CHECK(reader.read("", ignore) == line::other);
    CHECK(reader.read("{\"event\":\"stage\xff\"}", ignore) == line::other);
    CHECK(reader.read(std::string(std::size_t{1} << 20, '['), ignore) == line::other);
    CHECK(reader.read("{\"event\":\"" + std::string(relay_line_limit, 'x') + "\"}", ignore) ==
          line::other);
}

TEST_CASE("an event of wrong fields, types or sizes is refused", "[relay]") {
    // As a line of the machine around the tests may be, if it is not the one that was started.
    for (const char* line :
         {R"({"event":3})",
          R"({"event":"panic"})",
          R"({"event":"test"})",
          R"({"event":"stage","test":3,"stage":"body"})",
          R"({"event":"stage","test":"t"})",
          R"({"event":"started","test":"t","attempt":"1"})",
          R"({"event":"started","test":"t","attempt":0})",
          R"({"event":"started","test":"t","attempt":-1})",
          R"({"event":"started","test":"t","attempt":1.5})",
          R"({"event":"started","test":"t","attempt":4294967297})",
          R"({"event":"started","test":"t","attempt":1e9})",
          R"({"event":"waiting","test":["t"],"why":"x"})",
          R"({"event":"output","test":"t","stream":"in","bytes":"Zm9v"})",
          R"({"event":"output","test":"t","stream":"out","bytes":"no base64"})",
          R"({"event":"output","test":"t","stream":"out","bytes":7})",
          R"({"event":"check","test":"t","attempt":1,"file":"f","line":"2","kind":"CHECK",)"
          R"("expression":"e","expansion":"x"})",
          R"({"event":"file","test":"t","attempt":1,"file":"../../victim","bytes":"Zm9v"})",
          R"({"event":"file","test":"t","attempt":1,"file":"x","bytes":"Zm9v"})",
          R"({"event":"file","test":"t","attempt":1,"file":"","bytes":"Zm9v"})",
          R"({"event":"file","test":"t","attempt":1,"file":{},"bytes":"Zm9v"})",
          R"({"event":"end","aborted":3})",
          R"({"event":"end"})"}) {
        CAPTURE(line);
        CHECK_FALSE(fault_of(line).empty());
    }
    const std::string long_text(text_limit + 4, 'x');
    CHECK_FALSE(fault_of(R"({"event":"waiting","test":"t","why":")" + long_text + "\"}").empty());
    CHECK_FALSE(
        fault_of(R"({"event":"file","test":"t","attempt":1,"file":"console.log","bytes":")" +
                 base64(std::string(relay_piece + 1, 'x')) + "\"}")
            .empty());
    const std::string deep(std::size_t{1} << 20, '[');
    // No reader goes that deep: it is taken for no JSON at all.
    relay_reader reader;
    const auto taken_for = reader.read("{\"event\":" + deep + std::string(deep.size(), ']') + '}',
                                       [](const auto&) { FAIL_CHECK("an event was believed"); });
    CHECK(taken_for == relay_reader::line::other);
    CHECK(fault_of(R"({"event":"panic"})") == "an event 'panic': there is no such event");
}

TEST_CASE("the end of an attempt is refused when it can't be so", "[relay]") {
    using nlohmann::json;
    relay_reader reader;
    CHECK(reader.read(finished_with("attempt", 2), [](const auto&) {}) ==
          relay_reader::line::event);
    const auto refused = [](const char* key, const json& value) {
        CAPTURE(key, value.dump());
        CHECK_FALSE(fault_of(finished_with(key, value)).empty());
    };
    refused("verdict", "excellent");
    refused("verdict", 1);
    refused("reason", "excellent");
    // Verdicts that no such reason leads to.
    refused("reason", "check");
    refused("verdict", "fail");
    refused("verdict", "inconclusive");
    refused("verdict", "skip");
    refused("attempt", 0);
    refused("message", nullptr);
    refused("dilation", -1);
    refused("dilation", "fast");
    refused("dilation", 1e300);
    refused("kernel", 7);
    refused("boot", "warm");
    refused("attach", "boot");
    refused("start_s", json::array());
    refused("checks", -1);
    refused("checks", 1.5);
    refused("steal_guest_ticks", "3606");
    refused("mask", json::object());
    refused("failed_checks", "none");
    refused("failed_checks", json::array({1}));
    refused("failed_checks", json::array({json::array({"t", 1})}));
    refused("failed_checks", json(std::vector<int>(relay_list_limit + 1)));
    refused("failed_check_count", nullptr);
    refused("evidence", json::object());
    refused("evidence", json::array({1}));
    refused("notes", json::array({std::string(text_limit + 4, 'x')}));
    refused("console_tail", json(std::vector<std::string>(relay_list_limit + 1)));
    refused("output_lines", -7);
}

TEST_CASE("a metric is refused when it is none", "[relay][metric]") {
    using nlohmann::json;
    const auto line = json::parse(
        sent(metric_measured{.test = "t", .name = "m", .value = 1, .unit = "s"}).front());
    const auto fault = [&](const char* key, const json& value) {
        auto changed = line;
        changed[key] = value;
        return fault_of(changed.dump());
    };
    for (const auto& [key, value] :
         std::vector<std::pair<const char*, json>>{{"attempt", 0},
                                                   {"metric", ""},
                                                   {"metric", "Upper"},
                                                   {"metric", "a b"},
                                                   {"metric", 3},
                                                   {"metric", std::string(65, 'x')},
                                                   {"value", nullptr},
                                                   {"value", "1"},
                                                   {"value", true},
                                                   {"unit", "a b"},
                                                   {"unit", "\x1b[2J"},
                                                   {"unit", std::string(17, 'x')},
                                                   {"better", "worse"},
                                                   {"better", "?"},
                                                   {"better", 2},
                                                   {"name", nullptr}}) {
        CAPTURE(key, value.dump());
        CHECK_FALSE(fault(key, value).empty());
    }
    for (const char* number : {"1e999", "-1e999", "NaN", "Infinity"}) {
        auto text = line.dump();
        text.replace(text.find("1.0"), 3, number);
        CAPTURE(text);
        relay_reader reader;
        CHECK(reader.read(text, [](const auto&) { FAIL_CHECK("an event was believed"); }) !=
              relay_reader::line::event);
    }
    auto missing = line;
    missing.erase("unit");
    CHECK(fault_of(missing.dump()) == "an event 'metric': unit is missing");
}
