// SPDX-License-Identifier: MIT
// A run of one cell as a cell_result: the outcome of all its attempts, and the events of the one that came
// out like that. Host side.
#pragma once

#include <ktstr/embed.hpp>
#include <ktstr/host/report/failure_text.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/run/cell_listener.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::host {

class cell_collector final : public reporter {
public:
    explicit cell_collector(heard_of_cell& heard) : heard_(heard) {}

    void on(const test_started&) override { checks_.clear(); }
    void on(const check_failed& e) override {
        checks_.push_back({.file = e.file,
                           .line = e.line,
                           .kind = e.kind,
                           .expression = e.expression,
                           .expansion = e.expansion,
                           .message = e.message,
                           .info = e.info});
    }
    void on(const test_finished& e) override {
        const auto first = [this](verdict result, reason why) {
            return std::find_if(firsts_.begin(), firsts_.end(), [&](const attempt_told& one) {
                return one.event.result == result && one.event.why == why;
            });
        };
        if (!e.outcome) {
            if (first(e.result, e.why) == firsts_.end())
                firsts_.push_back({e, std::move(checks_)});
            return;
        }
        auto& result = heard_.result;
        result.verdict = e.outcome->result;
        result.reason = e.outcome->why;
        result.attempts = e.outcome->attempts;
        result.flaky = e.outcome->flaky;
        const auto decided = first(e.outcome->result, e.outcome->why);
        const bool last =
            decided == firsts_.end() || (e.result == e.outcome->result && e.why == e.outcome->why);
        result.failed_checks = std::move(last ? checks_ : decided->checks);
        describe(last ? e : decided->event);
        if (e.outcome->result == verdict::pass)
            for (const auto& one : firsts_)
                if (one.event.result == verdict::fail || one.event.result == verdict::inconclusive)
                    result.notes.push_back(
                        "attempt " + std::to_string(one.event.attempt) + ": " +
                        std::string(to_text(one.event.result)) + ", " +
                        std::string(to_text(one.event.why)) + ": " + one.event.message +
                        (one.event.artifacts ? "; artifacts: " + *one.event.artifacts : ""));
    }
    void on(const run_finished& e) override { heard_.end = e; }

private:
    struct attempt_told {
        test_finished event;
        std::vector<cell_check> checks;
    };

    /// All but the outcome.
    void describe(const test_finished& e) {
        auto& result = heard_.result;
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
        if (e.result == verdict::pass)
            return;
        // How to repeat it knows the program around us.
        auto told = e;
        told.replay.clear();
        for (const auto& line : failure_text(told))
            result.text += (result.text.empty() ? "" : "\n") + line;
    }

    heard_of_cell& heard_;
    std::vector<cell_check> checks_;  ///< of the attempt that runs
    /// The first attempt of each way to come out: the last one need not be what decides.
    std::vector<attempt_told> firsts_;
};

// Not inline: see cell_listener.hpp.
std::unique_ptr<reporter> listen_to(heard_of_cell& heard) {
    return std::make_unique<cell_collector>(heard);
}

}  // namespace ktstr::host
