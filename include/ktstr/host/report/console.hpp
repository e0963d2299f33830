// SPDX-License-Identifier: MIT
// What a person sees. On a terminal the last lines show what runs right now, redrawn with the tick
// and never more often; elsewhere plain lines. Nothing a guest sent reaches the terminal unchecked.
// Host side.
#pragma once

#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/failure_text.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/text/number.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/host/text/utf8.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

struct console_style {
    bool live = false;  ///< a terminal that can move its cursor
    bool color = false;
    bool verbose = false;
    bool quiet = false;
    std::function<int()> width = [] { return 80; };  ///< asked at each redraw
};

class console_reporter final : public reporter {
public:
    using reporter::on;

    console_reporter(std::unique_ptr<sink> out, console_style style)
        : out_(std::move(out)), style_(std::move(style)) {}

    void on(const run_started& e) override {
        selected_ = e.selected;
        started_ = e.at;
        if (style_.quiet)
            return;
        std::string head = "ktstr " + e.version + ": " + count_text(e.selected, "test", "tests");
        if (e.shard_index && e.shard_total)
            head += " (shard " + std::to_string(*e.shard_index + 1) + " of " +
                    std::to_string(*e.shard_total) + ')';
        head += ", accel " + e.accel;
        if (e.kernel)
            head += ", kernel " + *e.kernel;
        if (e.jobs)
            head += ", " + std::to_string(*e.jobs) + " at a time";
        line(head + ", seed " + std::to_string(e.seed));
        for (const auto& note : e.notes)
            line("note: " + note);
        flush_unless_live();
    }

    void on(const test_waiting& e) override {
        if (!style_.quiet)
            line(e.test + ": " + e.why);
        flush_unless_live();
    }

    void on(const test_started& e) override {
        // A machine that had to be replaced starts its attempt a second time.
        running* again = find(e.name);
        running& r = again != nullptr ? *again : running_.emplace_back();
        r = running{};
        r.name = e.name;
        r.topology = e.topology;
        r.attempt = e.attempt;
        r.started = r.stage_since = r.last_shown = e.at;
        if (style_.verbose)
            line("start " + e.name + "  " + e.topology + attempt_text(e.attempt));
        flush_unless_live();
    }

    void on(const stage_changed& e) override {
        if (running* r = find(e.test)) {
            r->stage = e.stage;
            r->stage_since = e.at;
        }
        if (style_.verbose)
            line(e.test + ": " + e.stage);
        flush_unless_live();
    }

    void on(const test_output& e) override {
        running* r = find(e.test);
        if (!style_.verbose || r == nullptr)
            return;
        std::string& open = e.stream == output_stream::out ? r->open_out : r->open_err;
        std::string_view bytes = e.bytes;
        for (auto end = bytes.find('\n'); end != bytes.npos; end = bytes.find('\n')) {
            open += bytes.substr(0, end);
            show_output(*r, open);
            bytes.remove_prefix(end + 1);
        }
        open += bytes;
        if (open.size() > text_limit)
            show_output(*r, open);
        flush_unless_live();
    }

    void on(const test_finished& e) override {
        if (running* r = find(e.name)) {
            for (std::string* open : {&r->open_out, &r->open_err})
                if (!open->empty())
                    show_output(*r, *open);
            running_.erase(running_.begin() + (r - running_.data()));
        }
        if (e.outcome)
            remember(e);
        const bool missed = e.result == verdict::fail || e.result == verdict::inconclusive;
        if (style_.verbose)
            show_metrics(e);
        if (missed || !style_.quiet)
            line_colored(color_of(e.result), word_of(e.result), "  " + headline(e));
        if (missed) {
            // With --verbose the output has been shown as it came.
            for (const auto& text : failure_text(e, !style_.verbose))
                line(text);
            blank_line();
        } else if (!style_.quiet) {
            for (const auto& note : e.notes)
                line("  note: " + note);
        }
        flush_unless_live();
    }

    void on(const run_finished& e) override {
        running_.clear();
        if (!style_.quiet)
            summarize(e);
        if (e.aborted)
            line("stopped before the end: " + *e.aborted);
        last_line(e);
        flush();
    }

    void on_tick(event_clock::time_point now) override {
        using namespace std::chrono_literals;
        if (style_.live) {
            redraw(now);
            return;
        }
        if (style_.quiet)
            return;
        for (running& r : running_) {
            if (now - r.last_shown < 10s)
                continue;
            r.last_shown = now;
            line(r.name + ": " + (r.stage.empty() ? "waiting" : r.stage) + " for " +
                 seconds_since(r.stage_since, now) + ", " + seconds_since(r.started, now) +
                 " in all");
        }
        flush();
    }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    struct running {
        std::string name;
        std::string topology;
        int attempt = 1;
        std::string stage;
        event_clock::time_point started;
        event_clock::time_point stage_since;
        event_clock::time_point last_shown;
        std::string open_out;  ///< the line that has no end yet
        std::string open_err;
    };
    struct ended {
        std::string name;
        std::string cause;
        int attempts = 1;
    };

    running* find(std::string_view name) {
        const auto found = std::find_if(running_.begin(), running_.end(),
                                        [&](const running& r) { return r.name == name; });
        return found == running_.end() ? nullptr : &*found;
    }

    void remember(const test_finished& e) {
        ++finished_;
        const ended entry{e.name,
                          e.message.empty() ? std::string(to_text(e.outcome->why)) : e.message,
                          e.outcome->attempts};
        switch (e.outcome->result) {
            case verdict::fail:
                failed_.push_back(entry);
                break;
            case verdict::inconclusive:
                inconclusive_.push_back(entry);
                break;
            case verdict::skip:
                skips_[entry.cause].push_back(e.name);
                break;
            case verdict::pass:
                break;
        }
        if (e.outcome->flaky)
            flaky_.push_back(entry);
    }

    static std::string attempt_text(int attempt) {
        return attempt > 1 ? "  attempt " + std::to_string(attempt) : "";
    }

    static std::string headline(const test_finished& e) {
        std::string text = e.name;
        if (e.result == verdict::skip)
            return text + ": " + (e.message.empty() ? std::string(to_text(e.why)) : e.message);
        if (e.result != verdict::pass)
            text += " (" + std::string(to_text(e.why)) + ')';
        if (e.topology)
            text += "  " + *e.topology;
        if (e.accel)
            text += "  " + *e.accel;
        if (e.dilation && *e.dilation >= 1.05)
            text += " (" + decimal(*e.dilation) + " times slower)";
        if (e.total_s)
            text += "  " + seconds_text(*e.total_s);
        text += attempt_text(e.attempt);
        if (!e.outcome)
            text += e.attempt == 1 ? "  attempt 1, another follows" : ", another follows";
        else if (e.outcome->flaky)
            text += ", flaky";
        return text;
    }

    static std::string decimal(double value) {
        std::string text = seconds_text(value);
        return text.substr(0, text.size() - 2);
    }

    void summarize(const run_finished& e) {
        blank_line();
        const auto list = [&](std::string_view title, const std::vector<ended>& tests) {
            if (tests.empty())
                return;
            line(std::string(title) + ':');
            for (const auto& test : tests)
                line("  " + test.name + ": " + test.cause);
        };
        list("failed", failed_);
        list("inconclusive", inconclusive_);
        if (!flaky_.empty()) {
            line("flaky:");
            for (const auto& test : flaky_)
                line("  " + test.name + ": its " + std::to_string(test.attempts) +
                     " attempts disagree");
        }
        if (!skips_.empty()) {
            line("skipped:");
            for (const auto& [cause, names] : skips_) {
                std::string text = "  " + cause + ": ";
                for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 8); ++i)
                    text += (i == 0 ? "" : ", ") + names[i];
                if (names.size() > 8)
                    text += " and " + std::to_string(names.size() - 8) + " more";
                line(text);
            }
        }
        if (e.finished() > 1 && !e.slowest.empty()) {
            std::string text = "slowest: ";
            for (std::size_t i = 0; i < std::min<std::size_t>(e.slowest.size(), 5); ++i)
                text += (i == 0 ? "" : ", ") + e.slowest[i].name + ' ' +
                        seconds_text(e.slowest[i].seconds);
            line(text);
        }
    }

    void last_line(const run_finished& e) {
        std::string text;
        const auto part = [&](std::size_t count, std::string_view what) {
            if (count > 0)
                text +=
                    (text.empty() ? ": " : ", ") + std::to_string(count) + ' ' + std::string(what);
        };
        part(e.failed, "failed");
        part(e.inconclusive, "inconclusive");
        part(e.passed, "passed");
        part(e.skipped, "skipped");
        part(e.selected > e.finished() ? e.selected - e.finished() : 0, "not run");
        part(e.flaky.size(), "flaky");
        text += "; " + count_text(e.selected, "test", "tests") + " in " + seconds_text(e.total_s) +
                ", seed " + std::to_string(e.seed);
        const std::string_view word = e.exit_code == 0   ? "passed"
                                      : e.exit_code == 1 ? "FAILED"
                                      : e.exit_code == 2 ? "INCONCLUSIVE"
                                      : e.exit_code == 4 ? "skipped"
                                                         : "INCOMPLETE";
        line_colored(e.exit_code == 0   ? "32"
                     : e.exit_code == 1 ? "1;31"
                     : e.exit_code == 4 ? "33"
                                        : "35",
                     word, text);
    }

    static std::string_view color_of(verdict result) {
        switch (result) {
            case verdict::pass:
                return "32";
            case verdict::fail:
                return "1;31";
            case verdict::skip:
                return "33";
            case verdict::inconclusive:
                return "35";
        }
        return "0";
    }

    /// What needs attention is in capitals, for those who see no colour.
    static std::string_view word_of(verdict result) {
        switch (result) {
            case verdict::fail:
                return "FAIL";
            case verdict::inconclusive:
                return "INCONCLUSIVE";
            default:
                return to_text(result);
        }
    }

    static std::string seconds_since(event_clock::time_point start, event_clock::time_point now) {
        return seconds_text(std::max(0.0, std::chrono::duration<double>(now - start).count()));
    }

    void show_output(const running& r, std::string& open) {
        line(r.name + " | " + one_line(std::exchange(open, {})));
    }

    /// In columns, above the verdict as the test's output is.
    void show_metrics(const test_finished& e) {
        std::size_t names = 0, values = 0, units = 0;
        for (const auto& m : e.metrics) {
            names = std::max(names, m.name.size());
            values = std::max(values, number_text(m.value).size());
            units = std::max(units, m.unit.size());
        }
        for (const auto& m : e.metrics) {
            const auto value = number_text(m.value);
            std::string text = e.name + ": metric " + m.name;
            text.append(names - m.name.size() + 2 + values - value.size(), ' ') += value;
            text.append("  ").append(m.unit);
            if (m.better != better::neither)
                text.append(units - m.unit.size() + 2, ' ').append(to_text(m.better)) +=
                    " is better";
            line(text.substr(0, text.find_last_not_of(' ') + 1));
        }
    }

    /// Queues one line; what does not belong on a terminal is spelled out here, for all of them.
    void line(std::string_view text) {
        pending_ += one_line(text) + '\n';
        after_blank_ = false;
    }

    void blank_line() {
        if (!after_blank_)
            line("");
        after_blank_ = true;
    }

    void line_colored(std::string_view color, std::string_view word, std::string_view rest) {
        if (style_.color) {
            pending_ += "\x1b[";
            pending_ += color;
            pending_ += 'm';
        }
        pending_ += word;
        if (style_.color)
            pending_ += "\x1b[0m";
        line(rest);
    }

    /// A live terminal gets its lines with the next redraw, so that the two never interleave.
    void flush_unless_live() {
        if (!style_.live || pending_.size() > 65536)
            flush();
    }

    void flush() {
        if (pending_.empty() && status_lines_ == 0)
            return;
        out_->write(erase_status() + std::exchange(pending_, {}));
    }

    std::string erase_status() {
        if (status_lines_ == 0)
            return {};
        return "\x1b[" + std::to_string(std::exchange(status_lines_, 0)) + "A\r\x1b[J";
    }

    void redraw(event_clock::time_point now) {
        std::string text = erase_status() + std::exchange(pending_, {});
        if (!running_.empty()) {
            const auto width = static_cast<std::size_t>(std::max(20, style_.width()));
            const auto add = [&](const std::string& status) {
                text += fitted(status, width - 1) + '\n';
                ++status_lines_;
            };
            std::string head =
                "-- " + std::to_string(finished_) + " of " + std::to_string(selected_) + " done";
            if (!failed_.empty())
                head += ", " + std::to_string(failed_.size()) + " failed";
            add(head + ", " + seconds_since(started_, now));
            constexpr std::size_t most = 8;
            for (std::size_t i = 0; i < std::min(running_.size(), most); ++i) {
                const running& r = running_[i];
                add("   " + r.name + "  " + r.topology + "  " +
                    (r.stage.empty() ? "waiting" : r.stage) + ' ' +
                    seconds_since(r.stage_since, now) + attempt_text(r.attempt));
            }
            if (running_.size() > most)
                add("   and " + std::to_string(running_.size() - most) + " more");
        }
        if (!text.empty())
            out_->write(text);
    }

    /// At most `width` columns: a status line that wraps could not be erased again.
    static std::string fitted(std::string_view text, std::size_t width) {
        const std::string clean = one_line(text);
        std::string_view rest = clean;
        std::string out;
        for (std::size_t columns = 0; !rest.empty() && columns < width;) {
            const auto c = detail::decode_utf8(rest);
            columns += c.value < 0x1100 ? 1 : 2;  // wide or not: never underestimated
            if (columns <= width)
                out += rest.substr(0, c.bytes);
            rest.remove_prefix(c.bytes);
        }
        return out;
    }

    std::unique_ptr<sink> out_;
    console_style style_;
    std::string pending_;
    bool after_blank_ = true;
    std::size_t status_lines_ = 0;
    std::size_t selected_ = 0;
    std::size_t finished_ = 0;
    event_clock::time_point started_{};
    std::vector<running> running_;
    std::vector<ended> failed_;
    std::vector<ended> inconclusive_;
    std::vector<ended> flaky_;
    std::map<std::string, std::vector<std::string>> skips_;
};

}  // namespace ktstr::host
