// SPDX-License-Identifier: MIT
// Adds up a run from its final outcomes: what run_finished says and what the exit code follows.
// Host side.
#pragma once

#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/exit_status.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ktstr::host {

class tally {
public:
    /// Takes every attempt; a test counts with its last.
    void add(const test_finished& attempt) {
        double& seconds = seconds_[attempt.name];
        seconds += attempt.total_s.value_or(0);
        if (!attempt.outcome)
            return;
        if (seconds > 0)
            add_time(attempt.name, seconds);
        seconds_.erase(attempt.name);
        outcomes_.push_back(*attempt.outcome);
        if (attempt.outcome->flaky)
            flaky_.push_back(attempt.name);
    }

    /// What has been seen so far, as the run's last event.
    [[nodiscard]] run_finished finish(std::size_t selected, std::uint64_t seed,
                                      double total_s) const {
        run_finished end;
        end.selected = selected;
        end.seed = seed;
        end.total_s = total_s;
        for (const auto& outcome : outcomes_) {
            switch (outcome.result) {
                case verdict::pass:
                    ++end.passed;
                    break;
                case verdict::fail:
                    ++end.failed;
                    break;
                case verdict::skip:
                    ++end.skipped;
                    break;
                case verdict::inconclusive:
                    ++end.inconclusive;
                    break;
            }
        }
        end.flaky = flaky_;
        end.slowest = slowest_;
        end.exit_code = exit_status(outcomes_, selected);
        return end;
    }

private:
    void add_time(const std::string& name, double seconds) {
        const auto at = std::upper_bound(
            slowest_.begin(), slowest_.end(), seconds,
            [](double s, const run_finished::timed& entry) { return s > entry.seconds; });
        slowest_.insert(at, {name, seconds});
        if (slowest_.size() > 5)
            slowest_.pop_back();
    }

    std::vector<final_outcome> outcomes_;
    std::map<std::string, double> seconds_;  ///< of tests that have attempts left
    std::vector<std::string> flaky_;
    std::vector<run_finished::timed> slowest_;
};

}  // namespace ktstr::host
