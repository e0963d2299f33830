// SPDX-License-Identifier: MIT
// A run of one cell as a cell_result: the events of its last attempt, and the outcome of all.
// Host side.
#pragma once

#include <ktstr/embed.hpp>
#include <ktstr/host/report/failure_text.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/run/cell_listener.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace ktstr::host {

class cell_collector final : public reporter {
public:
    explicit cell_collector(heard_of_cell& heard) : heard_(heard) {}

    void on(const test_started&) override { heard_.result.failed_checks.clear(); }
    void on(const check_failed& e) override {
        heard_.result.failed_checks.push_back({.file = e.file,
                                               .line = e.line,
                                               .kind = e.kind,
                                               .expression = e.expression,
                                               .expansion = e.expansion,
                                               .message = e.message,
                                               .info = e.info});
    }
    void on(const test_finished& e) override {
        if (!e.outcome)
            return;
        auto& result = heard_.result;
        result.verdict = e.outcome->result;
        result.reason = e.outcome->why;
        result.attempts = e.outcome->attempts;
        result.flaky = e.outcome->flaky;
        result.message = e.message;
        result.failed_check_count = e.failed_check_count;
        for (const auto& metric : e.metrics)
            result.metrics.push_back({.name = metric.name,
                                      .value = metric.value,
                                      .unit = metric.unit,
                                      .better = metric.better});
        result.notes = e.notes;
        result.checks = e.checks;
        result.artifacts = e.artifacts;
        result.accel = e.accel;
        result.kernel = e.kernel;
        result.topology = e.topology;
        result.scheduler = e.scheduler;
        result.seed = e.seed;
        if (e.body_s)
            result.body_time = std::chrono::duration<double>(*e.body_s);
        if (e.total_s)
            result.total_time = std::chrono::duration<double>(*e.total_s);
        if (e.outcome->result == verdict::pass)
            return;
        // How to repeat it knows the program around us.
        auto told = e;
        told.replay.clear();
        for (const auto& line : failure_text(told))
            result.text += (result.text.empty() ? "" : "\n") + line;
    }
    void on(const run_finished& e) override { heard_.end = e; }

private:
    heard_of_cell& heard_;
};

// Not inline: see cell_listener.hpp.
std::unique_ptr<reporter> listen_to(heard_of_cell& heard) {
    return std::make_unique<cell_collector>(heard);
}

}  // namespace ktstr::host
