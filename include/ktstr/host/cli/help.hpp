// SPDX-License-Identifier: MIT
// The text of --help, from the table in arguments.hpp. Host side.
#pragma once

#include <ktstr/host/cli/arguments.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace ktstr::host {

namespace detail {

inline constexpr std::string_view help_begin = R"(Usage: PROGRAM [arguments]

Runs the tests compiled into this program, each in a virtual machine of its own.
Without arguments: all of them.
)";

inline constexpr std::string_view help_examples = R"(
Examples
  PROGRAM --list                             what is in here?
  PROGRAM --filter 'steal_*' --verbose       some tests, with everything they print
  PROGRAM --tag smoke --jobs 2               the quick ones, two at a time
  PROGRAM --filter two_llcs --until-fail     how often does it take to fail?
  PROGRAM --filter two_llcs --shell          look around in that test's machine
  PROGRAM --junit report.xml --retries 1     in a CI job
  PROGRAM --json - | jq 'select(.event == "test")'

Environment (an argument wins over its variable; an empty variable counts as unset)
)";

inline constexpr std::string_view help_end = R"(
Exit codes
  0   every selected test passed (skips allowed)
  1   at least one failed
  2   none failed, at least one was inconclusive
  3   the run itself could not be done: no QEMU, no kernel, no memory, a bad host
  4   the single selected test was skipped, or all were
  5   bad usage, or a filter that selects nothing
)";

/// "  HEAD", and from column 25 on what it means.
inline void append_help_row(std::string& text, std::string_view head, std::string_view help) {
    constexpr std::size_t column = 25;
    const std::string indent(column, ' ');
    text += "  ";
    text += head;
    if (help.empty()) {
        text += '\n';
        return;
    }
    if (head.size() + 2 < column)
        text.append(column - 2 - head.size(), ' ');
    else
        text += '\n' + indent;
    for (const char c : help)
        c == '\n' ? text += c + indent : text += c;
    text += '\n';
}

}  // namespace detail

/// `program` is the name by which it was started, fit for a terminal.
[[nodiscard]] inline std::string help_text(std::string_view program) {
    std::string text(detail::help_begin);
    for (const auto& group : detail::argument_groups) {
        if (group.title.empty())
            continue;
        text += '\n';
        text += group.title;
        text += '\n';
        for (const auto& a : group.arguments) {
            std::string head(a.name);
            if (!a.letter.empty())
                (head += ", ") += a.letter;
            if (!a.value.empty())
                (head += ' ') += a.value;
            detail::append_help_row(text, head, a.help);
        }
    }
    text += detail::help_examples;
    for (const auto& v : detail::known_variables)
        detail::append_help_row(text, v.name,
                                v.as.empty() ? std::string(v.help) : "as " + std::string(v.as));
    text += detail::help_end;
    for (auto at = text.find("PROGRAM"); at != std::string::npos;
         at = text.find("PROGRAM", at + program.size()))
        text.replace(at, 7, program);
    return text;
}

}  // namespace ktstr::host
