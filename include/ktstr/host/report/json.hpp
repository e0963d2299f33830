// SPDX-License-Identifier: MIT
// --json: one object a line, as things happen. The fields of the "test" event are the public
// contract; what is unknown is null. A line is written whole or not at all.
// Host side.
#pragma once

#include <ktstr/host/json/write.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>

#include <cmath>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace ktstr::host {

namespace detail {

/// Rounded, because nobody measured the microseconds that a double would show. Not a number: null.
inline void rounded_field(json::writer& to, std::string_view name, std::optional<double> value,
                          double steps = 1000) {
    to.name(name);
    if (value && std::isfinite(*value))
        to.add(std::round(*value * steps) / steps);
    else
        to.null();
}

}  // namespace detail

class json_reporter final : public reporter {
public:
    using reporter::on;

    explicit json_reporter(std::unique_ptr<sink> out) : out_(std::move(out)) {}

    void on(const run_started& e) override {
        auto to = line();
        to.field("event", "run");
        to.field("phase", "start");
        to.field("version", e.version);
        to.field("program", e.program);
        to.field("seed", e.seed);
        to.field("accel", e.accel);
        to.field("kernel", e.kernel);
        to.field("tests", e.selected);
        to.field("jobs", e.jobs);
        to.field("shard_index", e.shard_index);
        to.field("shard_total", e.shard_total);
        to.field("notes", e.notes);
        write(to);
    }

    void on(const check_failed& e) override {
        auto to = line();
        to.field("event", "check");
        to.field("test", e.test);
        to.field("attempt", e.attempt);
        to.field("file", e.file);
        to.field("line", e.line);
        to.field("kind", e.kind);
        to.field("expression", e.expression);
        to.field("expansion", e.expansion);
        to.name("message");
        e.message.empty() ? to.null() : to.add(e.message);
        to.field("info", e.info);
        to.field("passed", false);
        write(to);
    }

    void on(const test_finished& e) override {
        auto to = line();
        to.field("event", "test");
        to.field("name", e.name);
        to.field("test", e.test);
        to.field("verdict", to_text(e.result));
        to.name("reason");
        e.why == reason::none ? to.null() : to.add(to_text(e.why));
        to.name("message");
        e.message.empty() ? to.null() : to.add(e.message);
        to.field("attempt", e.attempt);
        to.field("accel", e.accel);
        detail::rounded_field(to, "dilation", e.dilation, 100);
        to.field("scheduler", e.scheduler);
        to.field("kernel", e.kernel);
        to.field("topology", e.topology);
        to.field("seed", e.seed);
        to.field("boot", e.boot);
        detail::rounded_field(to, "start_s", e.start_s);
        detail::rounded_field(to, "body_s", e.body_s);
        detail::rounded_field(to, "total_s", e.total_s);
        to.field("checks", e.checks);
        to.field("steal_guest_ticks", e.steal_guest_ticks);
        to.field("steal_host_ns", e.steal_host_ns);
        to.field("mask", e.mask);
        to.field("artifacts", e.artifacts);
        write(to);
    }

    void on(const run_finished& e) override {
        auto to = line();
        to.field("event", "run");
        to.field("phase", "end");
        to.field("exit_code", e.exit_code);
        to.field("tests", e.selected);
        to.field("pass", e.passed);
        to.field("fail", e.failed);
        to.field("skip", e.skipped);
        to.field("inconclusive", e.inconclusive);
        to.field("flaky", e.flaky);
        to.field("aborted", e.aborted);
        to.field("seed", e.seed);
        detail::rounded_field(to, "total_s", e.total_s);
        write(to);
    }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    static json::writer line() {
        json::writer to;
        to.begin_object();
        return to;
    }
    void write(json::writer& line) {
        line.end_object();
        line.raw("\n");
        out_->write(line.take());
    }

    std::unique_ptr<sink> out_;
};

}  // namespace ktstr::host
