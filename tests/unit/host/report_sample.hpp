// SPDX-License-Identifier: MIT
// One run with everything in it that reports must get right: passes, failures with and without
// checks, a flaky test, skips that share a cause, a panic, and text from a hostile guest.
#pragma once

#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/report/tally.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host::test {

/// Keeps what a reporter wrote, one element for each write.
class string_sink final : public sink {
public:
    explicit string_sink(std::vector<std::string>& writes) : writes_(writes) {}
    void write(std::string_view bytes) override { writes_.emplace_back(bytes); }

private:
    std::vector<std::string>& writes_;
};

inline std::string joined(const std::vector<std::string>& writes) {
    std::string all;
    for (const auto& text : writes)
        all += text;
    return all;
}

/// Half a UTF-8 sequence, an escape sequence, a bell, markup, quotes, a NUL.
inline const std::string hostile =
    std::string("\xff\xc3 \x1b[2J\x1b]0;owned\x07 <b>&\"'</b> ]]> \x9b") + '\0' + "end\u202e";

inline event_clock::time_point at(double seconds) {
    return event_clock::time_point(
        std::chrono::duration_cast<event_clock::duration>(std::chrono::duration<double>(seconds)));
}

inline test_finished finished(std::string name, verdict result, reason why, std::string message) {
    test_finished e;
    e.test = name;
    e.scheduler = "eevdf";
    e.name = std::move(name);
    e.result = result;
    e.why = why;
    e.message = std::move(message);
    e.accel = "tcg";
    e.dilation = 9.3;
    e.kernel = "7.3.4+deb13-cloud-amd64";
    e.topology = "1n2l4c1t";
    e.seed = 42;
    e.boot = "clone";
    e.attach = "template";
    e.start_s = 0.12;
    e.body_s = 5.0104999;
    e.total_s = 5.2;
    e.checks = 3;
    e.file = "tests/a.cpp";
    e.line = 10;
    if (result != verdict::pass && result != verdict::skip) {
        e.replay = "./my_tests --filter " + e.name + " --seed 42";
        e.artifacts = "/tmp/artifacts/" + e.name;
    }
    e.outcome = final_outcome{result, why, false, 1};
    return e;
}

/// Feeds the whole run. `report` takes any event and on_tick, as a reporter does.
inline void sample_run(reporter& report) {
    tally sum;
    const auto finish = [&](const test_finished& e) {
        sum.add(e);
        report.on(e);
    };
    const auto start = [&](const std::string& name, double seconds, int attempt = 1) {
        test_started e;
        e.name = name;
        e.file = "tests/a.cpp";
        e.line = 10;
        e.topology = "1n2l4c1t";
        e.attempt = attempt;
        e.timeout = std::chrono::seconds(42);
        e.at = at(seconds);
        report.on(e);
    };
    const auto stage = [&](const std::string& test, const std::string& name, double seconds) {
        report.on(stage_changed{test, name, at(seconds)});
    };

    run_started begin;
    begin.version = "0.1.0";
    begin.program = "build/my_tests";
    begin.selected = 7;
    begin.seed = 42;
    begin.accel = "auto";
    begin.kernel = "7.3.4+deb13-cloud-amd64";
    begin.jobs = 2;
    begin.notes = {"no hardware virtualization here: using tcg"};
    begin.wall_time = std::chrono::system_clock::time_point(std::chrono::seconds(1700000000));
    begin.at = at(0);
    report.on(begin);
    report.on_tick(at(0.1));

    start("good", 0);
    start("two_llcs", 0);
    stage("good", "boot", 0.1);
    stage("two_llcs", "boot", 0.1);
    report.on_tick(at(0.2));
    stage("good", "body", 1);
    report.on(test_output{"good", output_stream::out, "half a "});
    report.on(test_output{"good", output_stream::err, "on stderr\n"});
    report.on(test_output{"good", output_stream::out, "line\nand no end"});
    report.on_tick(at(1.3));
    auto good = finished("good", verdict::pass, reason::none, "");
    good.notes = {"the guest was slow to boot"};
    finish(good);

    stage("two_llcs", "body", 1.5);
    report.on_tick(at(12));
    report.on_tick(at(13));
    auto failing =
        finished("two_llcs", verdict::fail, reason::check, "tests/a.cpp:12: six == 7 (6 == 7)");
    failing.failed_checks = {
        {"two_llcs", 1, "tests/a.cpp", 12, "CHECK", "six == 7", "6 == 7"},
        {"two_llcs", 1, "tests/a.cpp", 14, "REQUIRE", "llcs.size() == 2", "1 == 2"},
    };
    failing.failed_check_count = 2;
    failing.evidence = {"vCPU threads waited 812 ms for host CPUs"};
    failing.output_tail = {"one", "two"};
    failing.output_lines = 2;
    failing.steal_host_ns = 812345678;
    for (const auto& check : failing.failed_checks)
        report.on(check);
    finish(failing);

    start("wobbly", 13);
    auto first = finished("wobbly", verdict::fail, reason::timeout, "the body ran out of 42 s");
    first.outcome.reset();
    finish(first);
    start("wobbly", 14, 2);
    auto second = finished("wobbly", verdict::pass, reason::none, "");
    second.attempt = 2;
    second.outcome = final_outcome{verdict::pass, reason::none, true, 2};
    finish(second);

    for (const std::string name : {"steal_a", "steal_b"}) {
        auto skipped =
            finished(name, verdict::skip, reason::requirement, "no steal time under tcg");
        skipped.accel = skipped.kernel = skipped.boot = skipped.attach = std::nullopt;
        skipped.dilation = skipped.start_s = skipped.body_s = skipped.total_s = std::nullopt;
        skipped.checks = std::nullopt;
        finish(skipped);
    }

    start("panics", 15);
    stage("panics", "boot", 15);
    auto panicked = finished("panics", verdict::fail, reason::panic,
                             "the guest kernel panicked: Attempted to kill init!");
    panicked.body_s = std::nullopt;
    panicked.checks = std::nullopt;
    for (int i = 1; i <= 30; ++i) {
        panicked.console_tail.push_back("[    1." + std::to_string(100 + i) + "] console line");
        panicked.output_tail.push_back("output line " + std::to_string(i));
    }
    panicked.output_lines = 100;
    finish(panicked);

    start("hostile", 16);
    report.on(test_output{"hostile", output_stream::out, hostile + "\n"});
    auto odd = finished("hostile", verdict::inconclusive, reason::infrastructure, hostile);
    odd.failed_checks = {{"hostile", 1, "tests/b.cpp", 3, "CHECK", hostile, "multi\nline"}};
    odd.failed_check_count = 1;
    odd.output_tail = {hostile};
    odd.console_tail = {hostile + "\r"};
    odd.output_lines = 1;
    odd.kernel = hostile;
    report.on(odd.failed_checks[0]);
    finish(odd);

    report.on(sum.finish(7, 42, 31.24));
}

}  // namespace ktstr::host::test
