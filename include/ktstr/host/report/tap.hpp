// SPDX-License-Identifier: MIT
// --tap: TAP version 14 on standard output, kept to what Meson's TAP parser knows: plan first,
// numbers in order, one line a test, YAML below a line, no subtests. Inconclusive is `not ok`:
// `# TODO` would say that nobody needs to look.
// Host side.
#pragma once

#include <ktstr/host/json/write.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/event_json.hpp>
#include <ktstr/host/report/failure_text.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/host/text/utf8.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ktstr::host {

class tap_reporter final : public reporter {
public:
    using reporter::on;

    explicit tap_reporter(std::unique_ptr<sink> out) : out_(std::move(out)) {}

    void on(const run_started& e) override {
        std::string text = "TAP version 14\n1.." + std::to_string(e.selected);
        text += e.selected == 0 ? " # SKIP no tests in this shard\n" : "\n";
        text += "# ktstr " + one_line(e.version) + ", seed " + std::to_string(e.seed) + '\n';
        out_->write(text);
    }

    void on(const test_finished& e) override {
        if (!e.outcome) {
            if (e.result != verdict::pass)
                out_->write("# " + plain(e.name) + ", attempt " + std::to_string(e.attempt) + ": " +
                            std::string(to_text(e.result)) + " (" + std::string(to_text(e.why)) +
                            ") " + one_line(e.message, 300) + '\n');
            return;
        }
        const final_outcome& outcome = *e.outcome;
        const bool ok = outcome.result == verdict::pass || outcome.result == verdict::skip;
        std::string text = (ok ? "ok " : "not ok ") + std::to_string(++number_) + " - ";
        text += plain(e.name);
        if (outcome.result == verdict::skip) {
            text += " # SKIP " +
                    one_line(e.message.empty() ? to_text(outcome.why) : std::string_view(e.message),
                             300);
        }
        text += '\n';
        if (!ok)
            append_diagnostics(text, e);
        else
            append_metrics(text, e);
        if (ok && e.dilation && std::isfinite(*e.dilation))
            text +=
                "# " + plain(e.name) + " ran with dilation " + in_hundredths(*e.dilation) + '\n';
        if (outcome.flaky)
            text += "# " + plain(e.name) + " is flaky: its " + std::to_string(outcome.attempts) +
                    " attempts disagree\n";
        out_->write(text);
    }

    void on(const run_finished& e) override {
        if (e.finished() < e.selected)
            out_->write("Bail out! " + one_line(e.aborted.value_or("the run was cut short"), 300) +
                        '\n');
    }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    /// A test's name where `#` would begin a directive.
    static std::string plain(std::string_view name) {
        std::string text = one_line(name, 300);
        std::replace(text.begin(), text.end(), '#', '_');
        return text;
    }

    /// "9.30"; never in a locale's own spelling.
    static std::string in_hundredths(double value) {
        const auto n = std::llround(value * 100);
        const auto rest = std::to_string(n % 100);
        return std::to_string(n / 100) + (rest.size() < 2 ? ".0" : ".") + rest;
    }

    /// A test's diagnostics in YAML: a field, if it is known.
    struct yaml {
        std::string& out;

        template <class T>
        void operator()(const field& spec, const T& value) {
            if (spec.has(in_tap))
                put(spec.name, value);
        }
        void key(std::string_view name, std::string_view value) {
            out.append("  ").append(name).append(": ").append(value) += '\n';
        }
        void put(const char* name, const std::string& text) {
            if (!text.empty())
                key(name, quoted(text));
        }
        template <std::integral T>
        void put(const char* name, T number) {
            key(name, std::to_string(number));
        }
        template <class T>
        requires std::is_enum_v<T>
        void put(const char* name, T value) { key(name, quoted(to_text(value))); }
        void put(const char* name, double value) {
            if (std::isfinite(value))
                key(name, in_hundredths(value));
        }
        template <class T>
        void put(const char* name, const std::optional<T>& value) {
            if (value)
                put(name, *value);
        }
        void put(const char*, const std::vector<std::string>&) {}  // nothing of that kind is told
        void put(const char*, const std::vector<check_failed>& checks) {
            if (!checks.empty())
                out += "  checks:\n";
            for (std::size_t i = 0; i < std::min<std::size_t>(checks.size(), 8); ++i)
                item(quoted(detail::check_line(checks[i])));
        }
        void put(const char* name, const std::vector<metric_measured>& metrics) {
            if (!metrics.empty())
                out.append("  ").append(name) += ":\n";
            for (const auto& m : metrics) {
                json::writer flow(json::spacing::single, 128);
                event_json(flow, in_tap).put_object(m);
                item(flow.take());
            }
        }
        void item(std::string_view value) { out.append("    - ").append(value) += '\n'; }

        static std::string quoted(std::string_view text) {
            std::string out;
            append_json_string(out, text, 1000);
            return out;
        }
    };

    static void append_metrics(std::string& out, const test_finished& e) {
        if (e.metrics.empty())
            return;
        out += "  ---\n";
        yaml{out}.put("metrics", e.metrics);
        out += "  ...\n";
    }

    static void append_diagnostics(std::string& out, const test_finished& e) {
        yaml to{out};
        out += "  ---\n";
        // After repetitions the last attempt may be one that passed; its test's reason still holds.
        final_outcome::fields(*e.outcome, to);
        if (!e.file.empty())
            to.put("at", e.file + ':' + std::to_string(e.line));
        if (e.total_s && std::isfinite(*e.total_s))
            to.put("duration_ms", std::llround(*e.total_s * 1000));
        test_finished::fields(e, to);
        out += "  ...\n";
    }

    std::unique_ptr<sink> out_;
    std::size_t number_ = 0;
};

}  // namespace ktstr::host
