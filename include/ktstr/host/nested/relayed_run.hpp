// SPDX-License-Identifier: MIT
// A run that happens in another machine, followed from outside. That machine is trusted no more than
// a guest: only tests that were sent to it may be told of, each attempt begins and ends once and in
// order, nothing that an attempt has told can be taken back, and how a test came out of its attempts is
// counted here. The first thing that can't be is the end of belief: nothing after it is taken. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/machine/console_watch.hpp>
#include <ktstr/host/plan/attempts.hpp>
#include <ktstr/host/report/relay.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/run/artifacts.hpp>
#include <ktstr/host/run/cell_event.hpp>
#include <ktstr/wire/protocol.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

class relayed_run {
public:
    /// Bytes of one file, and of words that are no events. What comes later is dropped.
    static constexpr std::size_t file_limit = console_watch::limit;
    static constexpr std::size_t words_limit = std::size_t{1} << 20;

    relayed_run(const options& wanted, const cell_list& cells, fan_out& events, tally& totals)
        : wanted_(wanted), events_(events), totals_(totals) {
        for (const cell& one : cells)
            cells_.emplace(one.name, state(one, attempt_policy::of(wanted)));
    }

    /// Bytes of the run's standard output: events, one a line.
    void take(std::string_view bytes) {
        while (!bytes.empty() && fault_.empty()) {
            const auto end = bytes.find('\n');
            const auto piece = bytes.substr(0, end);
            // One byte beyond the limit is enough to be refused.
            line_ += piece.substr(0, relay_line_limit + 1 - line_.size());
            if (end == std::string_view::npos)
                return;
            bytes.remove_prefix(end + 1);
            take_line();
            line_.clear();
        }
    }

    /// Bytes that were said beside the events.
    void take_words(std::string_view bytes) {
        words_ += bytes.substr(0, words_limit - words_.size());
    }

    /// What it said that can't be; nothing after it was believed. May hold bytes of a guest.
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }
    [[nodiscard]] const std::string& words() const noexcept { return words_; }
    /// Why it left tests out, by its own words.
    [[nodiscard]] const std::optional<std::string>& aborted() const noexcept { return aborted_; }
    /// Whether it has said that it was over.
    [[nodiscard]] bool over() const noexcept { return over_; }
    /// Attempts that have ended so far.
    [[nodiscard]] std::size_t attempts_ended() const noexcept { return attempts_ended_; }

    /// The machine around the tests is found unfit: whatever has not ended yet shows nothing.
    void lose(const std::string& why) {
        for (auto& [name, its] : cells_) {
            if (its.done)
                continue;
            const int attempt = its.plan.current();
            if (!its.runs)
                events_(started_event(its.one, attempt));
            test_finished e;
            e.result = verdict_of(reason::infrastructure);
            e.why = reason::infrastructure;
            e.message = why;
            describe(its.one, attempt, e);
            e.accel = "nested";
            e.replay = replay_command(wanted_, its.one.name);
            (void)its.plan.record(e.result, e.why);
            e.outcome = final_outcome{e.result, e.why, false, attempt};
            end(e, its);
        }
    }

private:
    struct state {
        state(cell which, const attempt_policy& policy) : one(std::move(which)), plan(policy) {}
        cell one;
        attempts plan;
        bool runs = false;  ///< an attempt has begun and has not ended
        bool done = false;
        // Of the attempt that runs.
        bool begun_again = false;
        bool in_body = false;
        int stages = 0;
        std::uint64_t output_bytes = 0;
        std::uint64_t failed_checks = 0;  ///< that it has told of
        std::vector<metric_measured> metrics;
        std::array<std::string, artifact_names.size()> files;
    };

    void take_line() {
        const auto what = reader_.read(line_, [this](auto event) {
            if (over_)
                fault_ = "an event after the end of its run";
            else
                on(std::move(event));
        });
        if (what == relay_reader::line::refused)
            fault_ = reader_.fault();
        else if (what == relay_reader::line::other)
            take_words(line_ + '\n');
    }

    state* find(const std::string& name, const char* event) {
        const auto at = cells_.find(name);
        if (at == cells_.end())
            fault_ =
                std::string(event) + " of a test that was not sent to it: " + name.substr(0, 200);
        else if (at->second.done)
            fault_ = std::string(event) + " of a test that is over: " + name;
        return fault_.empty() ? &at->second : nullptr;
    }
    /// The test, in the attempt that an event belongs to.
    state* running(const std::string& name, std::optional<int> attempt, const char* event) {
        state* its = find(name, event);
        if (its != nullptr && (!its->runs || (attempt && *attempt != its->plan.current()))) {
            fault_ = std::string(event) + " of an attempt that does not run: " + name +
                     (attempt ? ", " + std::to_string(*attempt) : "");
            return nullptr;
        }
        return its;
    }

    void on(test_waiting e) {
        if (find(e.test, "waiting") != nullptr)
            events_(e);
    }
    void on(test_started e) {
        state* its = find(e.name, "the start");
        if (its == nullptr)
            return;
        if (e.attempt != its->plan.current()) {
            fault_ = "the start of attempt " + std::to_string(e.attempt) + " of " + e.name +
                     " and not of " + std::to_string(its->plan.current());
            return;
        }
        // Told again, once, when its clone did not wake up and a machine boots instead. Its body has not
        // begun then: what a body has shown can't be taken back.
        if (its->runs &&
            (its->begun_again || its->in_body || its->output_bytes > 0 || its->failed_checks > 0)) {
            fault_ = "the start of an attempt that has begun: " + e.name + ", " +
                     std::to_string(e.attempt);
            return;
        }
        its->begun_again = its->runs;
        its->runs = true;
        its->in_body = false;
        its->stages = 0;
        its->output_bytes = 0;
        its->failed_checks = 0;
        its->files = {};
        events_(started_event(its->one, e.attempt));
    }
    void on(stage_changed e) {
        state* its = running(e.test, std::nullopt, "a stage");
        if (its == nullptr)
            return;
        if (++its->stages > most_stages) {
            fault_ = "more stages than there are: " + e.test;
            return;
        }
        its->in_body = its->in_body || e.stage == "body";
        events_(e);
    }
    void on(test_output e) {
        state* its = running(e.test, std::nullopt, "output");
        if (its == nullptr)
            return;
        its->output_bytes += e.bytes.size();
        if (its->output_bytes > output_limit)
            fault_ = "more output than a test may have: " + e.test;
        else
            events_(e);
    }
    void on(check_failed e) {
        state* its = running(e.test, e.attempt, "a check");
        if (its == nullptr)
            return;
        ++its->failed_checks;
        if (!its->in_body)
            fault_ = "a failed check before its body: " + e.test;
        else if (its->failed_checks > wire::max_failed_checks_sent)
            fault_ = "more failed checks than are told of one test: " + e.test;
        else
            events_(e);
    }
    void on(metric_measured e) {
        state* its = running(e.test, e.attempt, "a metric");
        if (its == nullptr)
            return;
        if (!its->in_body) {
            fault_ = "a metric before its body: " + e.test;
        } else if (its->metrics.size() >= wire::max_metrics) {
            fault_ = "more metrics than are told of one test: " + e.test;
        } else {
            events_(e);
            its->metrics.push_back(std::move(e));
        }
    }
    void on(attempt_file e) {
        state* its = running(e.test, e.attempt, "a file");
        if (its == nullptr)
            return;
        auto& file = its->files[static_cast<std::size_t>(e.file)];
        file += e.content.substr(0, file_limit - file.size());
    }
    void on(test_finished e) {
        state* its = running(e.name, e.attempt, "the end");
        if (its == nullptr)
            return;
        const auto no_attempt_of_it = [&](const check_failed& c) {
            return c.test != e.name || c.attempt != e.attempt;
        };
        if (e.failed_check_count < e.failed_checks.size() ||
            std::any_of(e.failed_checks.begin(), e.failed_checks.end(), no_attempt_of_it) ||
            e.failed_check_count < its->failed_checks ||
            (e.result == verdict::pass &&
             (e.failed_check_count > 0) != its->one.spec().expect_fail) ||
            (e.result == verdict::skip && e.failed_check_count > 0)) {
            fault_ = "the end of " + e.name + ": its verdict and its failed checks contradict";
            return;
        }
        if (needs_body(e.why) ? !its->in_body : its->in_body && needs_none(e.why)) {
            fault_ = "the end of " + e.name + ": " + std::string(to_text(e.why)) +
                     (its->in_body ? " after its body began" : " without a body");
            return;
        }
        describe(its->one, e.attempt, e);
        e.metrics = std::exchange(its->metrics, {});
        e.accel = "nested";
        e.replay = replay_command(wanted_, its->one.name);
        e.outcome = its->plan.record(e.result, e.why);
        end(e, *its);
    }
    void on(run_finished e) {
        over_ = true;
        aborted_ = std::move(e.aborted);
    }

    void end(test_finished& e, state& its) {
        keep_files(e, its);
        its.runs = false;
        its.done = e.outcome.has_value();
        ++attempts_ended_;
        totals_.add(e);
        events_(e);
    }

    /// What only a body can come to.
    [[nodiscard]] static bool needs_body(reason why) {
        switch (why) {
            case reason::none:
            case reason::check:
            case reason::exception:
            case reason::signal:
            case reason::exit:
            case reason::oom:
            case reason::timeout:
            case reason::worker:
            case reason::oracle:
            case reason::no_data:
            case reason::skipped:
                return true;
            default:
                return false;
        }
    }
    /// What a test comes to that never had one.
    [[nodiscard]] static bool needs_none(reason why) {
        return why == reason::requirement || why == reason::boot_timeout;
    }

    void keep_files(test_finished& e, state& its) {
        std::vector<attempt_file> files;
        for (std::size_t i = 0; i < its.files.size(); ++i)
            if (!its.files[i].empty())
                files.push_back({its.one.name, e.attempt, static_cast<artifact>(i),
                                 std::exchange(its.files[i], {})});
        if (files.empty())
            return;
        if (auto kept = write_artifacts(artifacts_root(wanted_), its.one.name, e.attempt, files))
            e.artifacts = kept->string();
        else
            e.notes.push_back(kept.error().message());
    }

    /// As the run inside cuts its guests: the last piece may go beyond.
    static constexpr std::uint64_t output_limit =
        wire::max_output_per_test + 2 * wire::output_chunk;
    static constexpr int most_stages = 16;

    const options& wanted_;
    fan_out& events_;
    tally& totals_;
    std::map<std::string, state> cells_;
    bool over_ = false;
    std::size_t attempts_ended_ = 0;
    relay_reader reader_;
    std::string line_;
    std::string words_;
    std::string fault_;
    std::optional<std::string> aborted_;
};

}  // namespace ktstr::host
