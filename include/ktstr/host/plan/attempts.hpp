// SPDX-License-Identifier: MIT
// How often one test runs: --repeat, --until-fail and --retries as a state machine without clocks
// or processes. Feed it outcomes; it says whether another attempt follows and, if none does, how
// the test came out.
//
// A repetition is one attempt and the retries it needed. It passes if one of them passed; otherwise
// its worst attempt stands, so that a skip on a retry cannot bury the failure before it. The worst
// repetition decides the test. A test is flaky when an attempt passed and another did not.
// Host side.
#pragma once

#include <ktstr/check/verdict.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/event.hpp>

#include <optional>

namespace ktstr::host {

struct attempt_policy {
    std::optional<int> repeat;  ///< unset: once, or without end under until_fail
    bool until_fail = false;
    int retries = 0;

    [[nodiscard]] static attempt_policy of(const options& o) {
        return {o.repeat, o.until_fail, o.retries};
    }
};

class attempts {
public:
    explicit attempts(const attempt_policy& policy) : policy_(policy) {}

    /// Number of the attempt that runs now, from 1.
    [[nodiscard]] int current() const { return count_ + 1; }

    /// Whether a good outcome of the current attempt lets another one follow.
    [[nodiscard]] bool repeats() const {
        return policy_.repeat ? repetitions_ + 1 < *policy_.repeat : policy_.until_fail;
    }

    /// Takes the current attempt's outcome; the test's own outcome if that was the last attempt.
    [[nodiscard]] std::optional<final_outcome> record(verdict result, reason why) {
        ++count_;
        const bool bad = result == verdict::fail || result == verdict::inconclusive;
        passed_ = passed_ || result == verdict::pass;
        missed_ = missed_ || bad;
        ++tries_;
        if (tries_ == 1 || result == verdict::pass || repetition_.result < result)
            repetition_ = {result, why};
        if (bad && tries_ <= policy_.retries)
            return std::nullopt;

        tries_ = 0;
        ++repetitions_;
        if (repetitions_ == 1 || worst_.result < repetition_.result)
            worst_ = repetition_;
        if (another_repetition())
            return std::nullopt;
        return final_outcome{worst_.result, worst_.why, passed_ && missed_, count_};
    }

private:
    struct ending {
        verdict result = verdict::skip;
        reason why = reason::none;
    };

    [[nodiscard]] bool another_repetition() const {
        if (policy_.repeat && repetitions_ >= *policy_.repeat)
            return false;
        if (!policy_.repeat && !policy_.until_fail)
            return false;
        // What the host lacks it lacks the next time too, and waiting without end for a test that
        // skips itself to fail would be waiting for nothing.
        if (repetition_.result == verdict::skip)
            return policy_.repeat && repetition_.why != reason::requirement;
        return !policy_.until_fail || repetition_.result == verdict::pass;
    }

    attempt_policy policy_;
    int count_ = 0;  ///< attempts so far
    int tries_ = 0;  ///< of them, in this repetition
    int repetitions_ = 0;
    bool passed_ = false;
    bool missed_ = false;
    ending repetition_;
    ending worst_;
};

}  // namespace ktstr::host
