// SPDX-License-Identifier: MIT
// Every reporter against its golden output, and the promises that a golden file cannot show.
#include <ktstr/host/report/console.hpp>
#include <ktstr/host/report/failure_text.hpp>
#include <ktstr/host/report/json.hpp>
#include <ktstr/host/report/junit.hpp>
#include <ktstr/host/report/tap.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report_golden.hpp"
#include "report_sample.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::test;

namespace {

std::string console_output(console_style style) {
    std::vector<std::string> writes;
    console_reporter console(std::make_unique<string_sink>(writes), std::move(style));
    sample_run(console);
    return joined(writes);
}

console_style style(bool verbose, bool quiet) {
    console_style s;
    s.verbose = verbose;
    s.quiet = quiet;
    return s;
}

/// What is left on a terminal: the cursor movements that the console uses, carried out.
std::vector<std::string> screen(const std::string& bytes) {
    std::vector<std::string> lines{""};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] == '\n') {
            lines.emplace_back();
        } else if (bytes[i] == '\r') {
            CHECK(lines.back().empty());
        } else if (bytes[i] == '\x1b') {
            const auto end = bytes.find_first_of("AJm", i);
            REQUIRE(end != std::string::npos);
            const auto count = bytes.substr(i + 2, end - i - 2);
            if (bytes[end] == 'A') {
                const auto up = static_cast<std::size_t>(std::stoi(count));
                REQUIRE(up < lines.size());
                lines.resize(lines.size() - up);
                lines.back().clear();
            }
            i = end;
        } else {
            lines.back() += bytes[i];
        }
    }
    return lines;
}

}  // namespace

TEST_CASE("JSON lines are as agreed", "[report][json][golden]") {
    std::vector<std::string> writes;
    json_reporter json(std::make_unique<string_sink>(writes));
    sample_run(json);
    require_golden("report/run.jsonl", joined(writes));
}

TEST_CASE("each JSON event is one write of one valid line", "[report][json]") {
    std::vector<std::string> writes;
    json_reporter json(std::make_unique<string_sink>(writes));
    sample_run(json);
    for (const auto& text : writes) {
        CHECK(std::count(text.begin(), text.end(), '\n') == 1);
        CHECK(text.back() == '\n');
        CHECK(nlohmann::json::accept(text));
    }
}

TEST_CASE("the JSON test event has exactly the contract's fields in its order", "[report][json]") {
    std::vector<std::string> writes;
    json_reporter json(std::make_unique<string_sink>(writes));
    json.on(finished("t", verdict::pass, reason::none, ""));
    test_finished bare;
    bare.name = "bare";
    bare.dilation = std::numeric_limits<double>::quiet_NaN();
    json.on(bare);
    const std::vector<std::string> fields{
        "event",         "name",     "test",     "verdict",  "reason",
        "message",       "attempt",  "accel",    "dilation", "scheduler",
        "kernel",        "topology", "seed",     "boot",     "attach",
        "start_s",       "body_s",   "total_s",  "checks",   "steal_guest_ticks",
        "steal_host_ns", "mask",     "artifacts"};
    for (const auto& text : writes) {
        std::vector<std::string> keys;
        const auto object = nlohmann::ordered_json::parse(text);
        for (const auto& [key, value] : object.items())
            keys.push_back(key);
        CHECK(keys == fields);
    }
    // What nobody measured is null, not zero, and a pass has no reason.
    const auto unknown = nlohmann::json::parse(writes[1]);
    for (const char* key : {"reason", "message", "accel", "dilation", "scheduler", "kernel",
                            "topology", "seed", "boot", "attach", "start_s", "body_s", "total_s",
                            "checks", "steal_guest_ticks", "steal_host_ns", "mask", "artifacts"})
        CHECK(unknown[key].is_null());
    CHECK(unknown["attempt"] == 1);
}

TEST_CASE("JSON keeps 64-bit numbers whole", "[report][json]") {
    std::vector<std::string> writes;
    json_reporter json(std::make_unique<string_sink>(writes));
    auto e = finished("t", verdict::pass, reason::none, "");
    e.seed = 18446744073709551615u;
    e.checks = 0;
    json.on(e);
    CHECK(writes[0].find("\"seed\":18446744073709551615,") != std::string::npos);
    CHECK(writes[0].find("\"checks\":0,") != std::string::npos);
}

TEST_CASE("JUnit XML is as agreed", "[report][junit][golden]") {
    struct collector final : reporter {
        junit_document document;
        std::string text;
        void on(const run_started& e) override { document.add(e); }
        void on(const test_finished& e) override { document.add(e); }
        void on(const run_finished& e) override { text = document.text(e); }
        using reporter::on;
    } junit;
    sample_run(junit);
    require_golden("report/junit.xml", junit.text);
}

TEST_CASE("JUnit: the attempt that decided stands for the test", "[report][junit]") {
    junit_document document;
    auto e = finished("t", verdict::inconclusive, reason::infrastructure, "first");
    e.outcome.reset();
    document.add(e);
    e = finished("t", verdict::fail, reason::check, "second");
    e.outcome.reset();
    document.add(e);
    e = finished("t", verdict::pass, reason::none, "");
    e.outcome = final_outcome{verdict::fail, reason::check, true, 3};
    document.add(e);
    const auto text = document.text({});
    CHECK(text.find("<failure type=\"check\" message=\"second\">") != std::string::npos);
    CHECK(text.find("<rerunError type=\"infrastructure\" message=\"first\">") != std::string::npos);
    CHECK(text.find("flakyFailure") == std::string::npos);
    CHECK(text.find("time=\"15.600\"") != std::string::npos);
}

TEST_CASE("TAP is as agreed", "[report][tap][golden]") {
    std::vector<std::string> writes;
    tap_reporter tap(std::make_unique<string_sink>(writes));
    sample_run(tap);
    require_golden("report/run.tap", joined(writes));
}

TEST_CASE("TAP bails out when tests are missing, and only then", "[report][tap]") {
    std::vector<std::string> writes;
    tap_reporter tap(std::make_unique<string_sink>(writes));
    run_started begin;
    begin.selected = 2;
    tap.on(begin);
    tap.on(finished("a # SKIP me", verdict::pass, reason::none, ""));
    run_finished end;
    end.selected = 2;
    end.passed = 1;
    SECTION("cut short") {
        end.aborted = "interrupted";
        tap.on(end);
        CHECK(
            joined(writes).ends_with("ok 1 - a _ SKIP me\n# a _ SKIP me ran with dilation 9.30\n"
                                     "Bail out! interrupted\n"));
    }
    SECTION("complete") {
        end.skipped = 1;
        tap.on(end);
        CHECK(joined(writes).find("Bail out!") == std::string::npos);
    }
}

TEST_CASE("TAP of an empty shard is a skip", "[report][tap]") {
    std::vector<std::string> writes;
    tap_reporter tap(std::make_unique<string_sink>(writes));
    tap.on(run_started{});
    CHECK(joined(writes).starts_with("TAP version 14\n1..0 # SKIP "));
}

TEST_CASE("the console is as agreed", "[report][console][golden]") {
    require_golden("report/console.txt", console_output(style(false, false)));
    require_golden("report/console_verbose.txt", console_output(style(true, false)));
    require_golden("report/console_quiet.txt", console_output(style(false, true)));
    auto colored = style(false, true);
    colored.color = true;
    require_golden("report/console_color.txt", console_output(colored));
}

TEST_CASE("a live console leaves the same lines as a plain one", "[report][console]") {
    auto live = style(false, false);
    live.live = true;
    live.width = [] { return 40; };
    const auto bytes = console_output(live);
    require_golden("report/console_live.txt", bytes);
    auto left = screen(bytes);
    auto plain = screen(console_output(style(false, false)));
    // Progress lines belong to plain output; a live one shows progress in place.
    std::erase_if(plain, [](const std::string& l) { return l.ends_with(" in all"); });
    CHECK(left == plain);
}

TEST_CASE("a live console writes on ticks only", "[report][console]") {
    std::vector<std::string> writes;
    console_style s;
    s.live = true;
    console_reporter console(std::make_unique<string_sink>(writes), s);
    run_started begin;
    begin.selected = 100;
    console.on(begin);
    for (int i = 0; i < 100; ++i)
        console.on(finished("t", verdict::pass, reason::none, ""));
    CHECK(writes.empty());
    console.on_tick(at(1));
    CHECK(writes.size() == 1);
    console.on(run_finished{});
    CHECK(writes.size() == 2);
}

TEST_CASE("status lines never wrap", "[report][console]") {
    std::vector<std::string> writes;
    console_style s;
    s.live = true;
    s.width = [] { return 30; };
    console_reporter console(std::make_unique<string_sink>(writes), s);
    for (int i = 0; i < 20; ++i) {
        test_started e;
        e.name = "\u6d4b\u8bd5" + std::string(100, 'x') + std::to_string(i);
        console.on(e);
    }
    console.on_tick(at(1));
    const auto lines = screen(writes.back());
    CHECK(lines.size() == 1 + 8 + 1 + 1);
    for (const auto& line : lines)
        CHECK(line.size() <= 29 + 2);  // two wide characters are six bytes in four columns
}

TEST_CASE("nothing from a guest drives the terminal", "[report][console]") {
    for (bool verbose : {false, true}) {
        const auto text = console_output(style(verbose, false));
        for (char c : text)
            CHECK((c == '\n' || static_cast<unsigned char>(c) >= 0x20));
        CHECK(text.find('\x7f') == std::string::npos);
        CHECK(text.find("\u202e") == std::string::npos);
        CHECK(text.find("\\x1b[2J") != std::string::npos);
    }
}

TEST_CASE("plain progress comes every ten seconds, and not when quiet", "[report][console]") {
    std::vector<std::string> writes;
    console_reporter console(std::make_unique<string_sink>(writes), style(false, false));
    test_started e;
    e.name = "slow";
    e.at = at(0);
    console.on(e);
    console.on(stage_changed{"slow", "boot", at(1)});
    for (int second = 0; second <= 25; ++second)
        console.on_tick(at(second));
    CHECK(joined(writes) ==
          "slow: boot for 9.0 s, 10.0 s in all\nslow: boot for 19.0 s, 20.0 s in all\n");
    writes.clear();
    console_reporter quiet(std::make_unique<string_sink>(writes), style(false, true));
    quiet.on(e);
    quiet.on_tick(at(60));
    CHECK(writes.empty());
}

TEST_CASE("a test that waits says for whom, and not when quiet", "[report][console]") {
    for (const bool quiet : {false, true}) {
        std::vector<std::string> writes;
        console_reporter console(std::make_unique<string_sink>(writes), style(false, quiet));
        console.on(test_waiting{"t", "waiting for 2 host CPUs, held by \x1b[2J (pid 3)"});
        const auto text = joined(writes);
        CHECK((text.find("t: waiting for 2 host CPUs") != std::string::npos) != quiet);
        CHECK(text.find('\x1b') == std::string::npos);
    }
}

TEST_CASE("an attempt that started on a second machine is shown once", "[report][console]") {
    std::vector<std::string> writes;
    console_reporter console(std::make_unique<string_sink>(writes), style(false, false));
    test_started e;
    e.name = "moved";
    e.at = at(0);
    console.on(e);
    e.at = at(5);
    console.on(e);
    console.on_tick(at(15));
    CHECK(joined(writes) == "moved: waiting for 10.0 s, 10.0 s in all\n");
    console.on(finished("moved", verdict::pass, reason::none, ""));
    writes.clear();
    console.on_tick(at(60));
    CHECK(joined(writes).empty());
}

TEST_CASE("a failure fits on a screen and ends with the way back to it", "[report][console]") {
    auto e = finished("t", verdict::fail, reason::check, "cause");
    for (int i = 0; i < 200; ++i) {
        e.failed_checks.push_back({"t", 1, "a.cpp", i, "CHECK", "expression", "expansion"});
        e.evidence.push_back("evidence");
        e.notes.push_back("note");
        e.output_tail.push_back("output");
        e.console_tail.push_back("console");
    }
    e.failed_check_count = 1000;
    e.output_lines = 5000;
    for (const reason why : {reason::check, reason::panic}) {
        e.why = why;
        const auto lines = failure_text(e);
        CHECK(lines.size() <= failure_line_limit - 1);
        CHECK(lines.front() == "  cause");
        CHECK(lines.back() == "  artifacts: /tmp/artifacts/t");
        CHECK(lines[lines.size() - 2] == "  replay: ./my_tests --filter t --seed 42");
        const auto has = [&](const std::string& text) {
            return std::any_of(lines.begin(), lines.end(),
                               [&](const auto& l) { return l.find(text) != l.npos; });
        };
        CHECK(has("and 994 more"));
        CHECK(has("| output"));
        CHECK(has("| console"));
        CHECK(has(why == reason::panic ? "console, last 20 lines" : "output, last 20 of 5000"));
    }
}

TEST_CASE("checks that say much leave room for the others", "[report][console]") {
    auto e = finished("t", verdict::fail, reason::check, "cause");
    const std::vector<std::string> many(8, "line");
    for (int i = 0; i < 20; ++i) {
        e.failed_checks.push_back({"t", 1, "a.cpp", i, "CHECK", "x", "0", "text", many});
        e.output_tail.push_back("output");
        e.console_tail.push_back("console");
    }
    e.failed_check_count = 20;
    const auto lines = failure_text(e);
    CHECK(lines.size() <= failure_line_limit - 1);
    const auto has = [&](const std::string& text) {
        return std::find(lines.begin(), lines.end(), text) != lines.end();
    };
    CHECK(has("        text"));
    CHECK(has("    and 18 more"));
    CHECK(has("    | output"));
    CHECK(has("    | console"));
}

TEST_CASE("a single failed check is told once", "[report][console]") {
    auto e = finished("t", verdict::fail, reason::check, "a.cpp:1: x == y (1 == 2)");
    e.failed_checks = {{"t", 1, "a.cpp", 1, "CHECK", "x == y", "1 == 2"}};
    e.failed_check_count = 1;
    CHECK(failure_text(e).size() == 3);  // cause, replay, artifacts
    e.message = "something else";
    CHECK(failure_text(e).size() == 6);
    e.failed_checks[0].message = "after 3 turns";
    CHECK(failure_text(e).size() == 7);
    e.message = "a.cpp:1: x == y (1 == 2): after 3 turns";
    CHECK(failure_text(e).size() == 3);
    e.failed_checks[0].info = {"cpu 0", "cpu 1", "cpu 2", "cpu 3"};
    const auto lines = failure_text(e);
    REQUIRE(lines.size() == 10);
    CHECK(lines[4] == "        after 3 turns");
    CHECK(lines[5] == "        info: cpu 1");
    CHECK(lines[7] == "        info: cpu 3");
}

TEST_CASE("a check's text and its lines are in the JSON event", "[report][json]") {
    std::vector<std::string> writes;
    json_reporter json(std::make_unique<string_sink>(writes));
    json.on(check_failed{"t", 1, "a.cpp", 1, "CHECK", "x", "0", "after 3 turns", {"cpu 1"}});
    json.on(check_failed{"t", 1, "a.cpp", 1, "CHECK", "x", "0"});
    REQUIRE(writes.size() == 2);
    CHECK(writes[0].find(R"("message":"after 3 turns","info":["cpu 1"])") != std::string::npos);
    CHECK(writes[1].find(R"("message":null,"info":[])") != std::string::npos);
}

namespace {

/// A pass and a failure with numbers, each told as it comes and again at the end.
void measured_run(reporter& report) {
    for (const auto result : {verdict::pass, verdict::fail}) {
        auto e = finished(result == verdict::pass ? "quick" : "slow", result,
                          result == verdict::pass ? reason::none : reason::signal, "");
        e.metrics = {{e.name, 1, "wakeups_per_s", 1234.5, "1/s", better::higher},
                     {e.name, 1, "p99", -0.00012, "s", better::lower},
                     {e.name, 1, "plain", 1e300, "", better::neither}};
        for (const auto& metric : e.metrics)
            report.on(metric);
        report.on(e);
    }
}

template <class Reporter, class... More>
std::string measured(More... more) {
    std::vector<std::string> writes;
    Reporter report(std::make_unique<string_sink>(writes), more...);
    measured_run(report);
    return joined(writes);
}

}  // namespace

TEST_CASE("JSON has an event for each metric, exact", "[report][json][metric]") {
    const auto text = measured<json_reporter>();
    CHECK(text.starts_with(
        R"({"event":"metric","name":"quick","attempt":1,"metric":"wakeups_per_s","value":1234.5,)"
        R"("unit":"1/s","better":"higher"})"
        "\n"
        R"({"event":"metric","name":"quick","attempt":1,"metric":"p99","value":-0.00012,)"
        R"("unit":"s","better":"lower"})"
        "\n"
        R"({"event":"metric","name":"quick","attempt":1,"metric":"plain","value":1e+300,)"
        R"("unit":"","better":"neither"})"
        "\n"
        R"({"event":"test","name":"quick",)"));
    // The test event itself is the contract's.
    CHECK(text.find("metrics") == std::string::npos);
}

TEST_CASE("JUnit has a property for each metric", "[report][junit][metric]") {
    struct collector final : reporter {
        junit_document document;
        void on(const test_finished& e) override { document.add(e); }
        using reporter::on;
    } junit;
    measured_run(junit);
    const auto text = junit.document.text({});
    CHECK(text.find(R"(        <property name="metric.wakeups_per_s" value="1234.5 1/s"/>)"
                    "\n"
                    R"(        <property name="metric.p99" value="-0.00012 s"/>)"
                    "\n"
                    R"(        <property name="metric.plain" value="1e+300"/>)"
                    "\n") != std::string::npos);
}

TEST_CASE("TAP has metrics in a test's diagnostics, whatever came of it", "[report][tap][metric]") {
    const auto text = measured<tap_reporter>();
    const std::string metrics =
        "  metrics:\n"
        R"(    - {"metric": "wakeups_per_s", "value": 1234.5, "unit": "1/s", "better": "higher"})"
        "\n"
        R"(    - {"metric": "p99", "value": -0.00012, "unit": "s", "better": "lower"})"
        "\n"
        R"(    - {"metric": "plain", "value": 1e+300, "unit": "", "better": "neither"})"
        "\n";
    // Diagnostics stand right below their line.
    CHECK(text.starts_with("ok 1 - quick\n  ---\n" + metrics + "  ...\n# quick ran with dilation"));
    const auto second = text.find("not ok 2 - slow\n  ---\n");
    REQUIRE(second != std::string::npos);
    CHECK(text.find(metrics, second) != std::string::npos);
}

TEST_CASE("the console has metrics in columns, with --verbose alone", "[report][console][metric]") {
    CHECK(measured<console_reporter>(style(true, false))
              .starts_with("quick: metric wakeups_per_s    1234.5  1/s  higher is better\n"
                           "quick: metric p99            -0.00012  s    lower is better\n"
                           "quick: metric plain            1e+300\n"
                           "pass  quick"));
    CHECK(measured<console_reporter>(style(false, false)).find("metric") == std::string::npos);
}
