// SPDX-License-Identifier: MIT
// What a person needs to know about an attempt that did not pass, as harmless lines: the cause
// first, then the evidence, then how to see it again. It fits on a screen whatever the guest sent;
// the rest is in the artifacts.
// Host side.
#pragma once

#include <ktstr/host/report/event.hpp>
#include <ktstr/host/text/terminal.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

/// The most lines one failure takes, headline included.
inline constexpr std::size_t failure_line_limit = 60;

/// "5.2 s"; never in a locale's own spelling.
[[nodiscard]] inline std::string seconds_text(double seconds) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.1f s", seconds);
    return buffer;
}

[[nodiscard]] inline std::string count_text(std::uint64_t count, std::string_view one,
                                            std::string_view many) {
    return std::to_string(count) + ' ' + std::string(count == 1 ? one : many);
}

namespace detail {

inline constexpr std::size_t line_limit = 300;

[[nodiscard]] inline std::string check_place(const check_failed& check) {
    return check.file + ':' + std::to_string(check.line) + ": ";
}

/// A check in one line, as a cause has it.
[[nodiscard]] inline std::string check_line(const check_failed& check) {
    return check_place(check) + check.expression + " (" + check.expansion + ')' +
           (check.message.empty() ? "" : ": " + check.message);
}

/// Verdicts of which the guest's kernel knows more than the body.
[[nodiscard]] constexpr bool console_tells_more(reason why) {
    switch (why) {
        case reason::panic:
        case reason::oops:
        case reason::lockup:
        case reason::guest_exit:
        case reason::hang:
        case reason::boot_timeout:
        case reason::scheduler_attach:
        case reason::scheduler_exit:
        case reason::oom:
        case reason::infrastructure:
            return true;
        default:
            return false;
    }
}

class failure_lines {
public:
    explicit failure_lines(const test_finished& e, bool with_output) : e_(e) {
        add("  ", cause());
        add_checks();
        add_group("evidence", e.evidence, 5);
        std::vector<std::string> ending;
        for (std::size_t i = 0; i < std::min<std::size_t>(e.notes.size(), 3); ++i)
            ending.push_back("note: " + e.notes[i]);
        if (!e.replay.empty())
            ending.push_back("replay: " + e.replay);
        if (e.artifacts)
            ending.push_back("artifacts: " + *e.artifacts);

        // What is left of the screen goes to the two streams, the more telling one first.
        const std::size_t room = failure_line_limit - 1 - ending.size();
        const auto show_output = [&](std::size_t keep_free) {
            if (with_output)
                add_stream("output", e.output_tail, e.output_lines, room - keep_free);
        };
        const auto show_console = [&](std::size_t keep_free) {
            add_stream("console", e.console_tail, 0, room - keep_free);
        };
        if (console_tells_more(e.why)) {
            show_console(with_output && !e.output_tail.empty() ? 9 : 0);
            show_output(0);
        } else {
            show_output(!e.console_tail.empty() ? 9 : 0);
            show_console(0);
        }
        for (const auto& line : ending)
            lines_.push_back("  " + one_line(line, 2000));  // a command cut short is of no use
    }

    [[nodiscard]] std::vector<std::string> take() { return std::move(lines_); }

private:
    [[nodiscard]] std::string cause() const {
        return e_.message.empty() ? std::string(to_text(e_.why)) : e_.message;
    }

    void add(std::string_view indent, std::string_view text) {
        lines_.push_back(std::string(indent) + one_line(text, line_limit));
    }

    /// Whether the cause above is this check and all that is known of it.
    [[nodiscard]] bool says_all(const check_failed& check) const {
        return check.info.empty() && e_.message == check_line(check);
    }

    void add_checks() {
        const auto& checks = e_.failed_checks;
        const auto count = std::max<std::uint64_t>(e_.failed_check_count, checks.size());
        // A single failed check is usually the cause itself, and nobody should say it twice.
        if (checks.empty() || (count == 1 && says_all(checks[0])))
            return;
        add("  ", count_text(count, "failed check:", "failed checks:"));
        // Fewer where they say more: the rest of the screen belongs to others.
        std::size_t shown = 0;
        for (; shown < std::min<std::size_t>(checks.size(), 6) && lines_.size() < 14; ++shown) {
            const std::size_t i = shown;
            add("    ", check_place(checks[i]) + checks[i].kind + '(' + checks[i].expression + ')');
            if (!checks[i].expansion.empty() && checks[i].expansion != checks[i].expression)
                add("        ", "with " + checks[i].expansion);
            if (!checks[i].message.empty())
                add("        ", checks[i].message);
            // The innermost come last; JSON has all of them.
            const auto& info = checks[i].info;
            for (std::size_t n = info.size() > 3 ? info.size() - 3 : 0; n < info.size(); ++n)
                add("        ", "info: " + info[n]);
        }
        if (count > shown)
            add("    ", "and " + std::to_string(count - shown) + " more");
    }

    void add_group(std::string_view title, const std::vector<std::string>& texts,
                   std::size_t most) {
        if (texts.empty())
            return;
        add("  ", std::string(title) + ':');
        for (std::size_t i = 0; i < std::min(texts.size(), most); ++i)
            add("    ", texts[i]);
        if (texts.size() > most)
            add("    ", "and " + std::to_string(texts.size() - most) + " more");
    }

    /// The last lines of a stream, at most 20 and never beyond line `limit` of the whole.
    void add_stream(std::string_view title, const std::vector<std::string>& tail,
                    std::uint64_t total, std::size_t limit) {
        if (tail.empty() || lines_.size() + 2 > limit)
            return;
        const auto shown = std::min({tail.size(), limit - lines_.size() - 1, std::size_t{20}});
        total = std::max<std::uint64_t>(total, tail.size());
        if (total == shown)
            add("  ", std::string(title) + ':');
        else if (title == "console")  // only its tail is ever read, so the total is not known
            add("  ", std::string(title) + ", last " + count_text(shown, "line:", "lines:"));
        else
            add("  ", std::string(title) + ", last " + std::to_string(shown) + " of " +
                          count_text(total, "line:", "lines:"));
        for (std::size_t i = tail.size() - shown; i < tail.size(); ++i)
            add("    | ", tail[i]);
    }

    const test_finished& e_;
    std::vector<std::string> lines_;
};

}  // namespace detail

/// The block under a failure's headline: at most failure_line_limit - 1 lines.
[[nodiscard]] inline std::vector<std::string> failure_text(const test_finished& attempt,
                                                           bool with_output = true) {
    return detail::failure_lines(attempt, with_output).take();
}

}  // namespace ktstr::host
