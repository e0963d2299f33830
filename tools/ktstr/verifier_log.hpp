// SPDX-License-Identifier: MIT
// What a kernel's verifier says, read: the numbers at the end of its log, and the log of a program that it refuses, the line that
// it stumbled over first and repeats once. Pure. Host side.
#pragma once

#include <ktstr/guest/scx_words.hpp>
#include <ktstr/host/text/terminal.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::tool {

[[nodiscard]] inline std::vector<std::string> lines_in(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

/// The numbers that the verifier ends with; what it does not say is not there.
struct verifier_stats {
    std::optional<std::uint64_t> insns, limit, states, peak_states, states_per_insn, time_us;
};

namespace detail {

/// The number behind `word`, if that is in the line.
inline std::optional<std::uint64_t> number_behind(std::string_view line, std::string_view word) {
    const auto at = line.find(word);
    if (at == line.npos)
        return std::nullopt;
    std::uint64_t value = 0;
    const auto* const begin = line.data() + at + word.size();
    const auto read = std::from_chars(begin, line.data() + line.size(), value);
    return read.ec == std::errc() ? std::optional(value) : std::nullopt;
}

/// An instruction without the states beside it: in each turn of a loop they differ.
inline std::string_view without_states(std::string_view line) {
    if (line.starts_with(';'))
        return line;
    if (const auto colon = line.find(": "); line.starts_with("from ") && colon != line.npos)
        return line.substr(0, colon);
    const auto digits = std::min(line.find_first_not_of("0123456789"), line.size());
    if (digits > 0 && line.substr(digits).starts_with(": R"))
        return line.substr(0, digits);
    line = line.substr(0, line.find(" ; "));
    while (!line.empty() && line.back() == ' ')
        line.remove_suffix(1);
    return line;
}

}  // namespace detail

[[nodiscard]] inline verifier_stats stats_in(std::string_view log) {
    verifier_stats stats;
    for (const std::string& line : lines_in(log)) {
        if (line.starts_with("processed ")) {
            stats.insns = detail::number_behind(line, "processed ");
            stats.limit = detail::number_behind(line, "(limit ");
            stats.states_per_insn = detail::number_behind(line, "max_states_per_insn ");
            stats.states = detail::number_behind(line, "total_states ");
            stats.peak_states = detail::number_behind(line, "peak_states ");
        } else if (line.starts_with("verification time ")) {
            stats.time_us = detail::number_behind(line, "verification time ");
        }
    }
    return stats;
}

/// Lines that come again and again, alone or several in a row, once, and how often.
[[nodiscard]] inline std::vector<std::string> collapsed(const std::vector<std::string>& lines) {
    constexpr std::size_t longest = 400;
    std::map<std::string_view, int> known;
    std::vector<int> same;
    for (const auto& line : lines)
        same.push_back(known.emplace(detail::without_states(line), static_cast<int>(known.size()))
                           .first->second);
    const auto at = [&](std::size_t i) { return same.begin() + static_cast<std::ptrdiff_t>(i); };
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < lines.size();) {
        std::size_t length = 0;
        for (std::size_t n = 1; n <= longest && i + 2 * n <= lines.size() && length == 0; ++n)
            if (same[i] == same[i + n] && std::equal(at(i), at(i + n), at(i + n)))
                length = n;
        if (length == 0) {
            shown.push_back(lines[i++]);
            continue;
        }
        std::size_t times = 1;
        while (i + (times + 1) * length <= lines.size() &&
               std::equal(at(i), at(i + length), at(i + times * length)))
            ++times;
        // Two equal lines are no loop.
        if (length == 1 && times == 2) {
            shown.push_back(lines[i++]);
            continue;
        }
        shown.insert(shown.end(), lines.begin() + static_cast<std::ptrdiff_t>(i),
                     lines.begin() + static_cast<std::ptrdiff_t>(i + length));
        shown.push_back("        (" +
                        (length == 1 ? std::string("this line")
                                     : "these " + std::to_string(length) + " lines") +
                        " " + std::to_string(times) + " times)");
        i += times * length;
    }
    return shown;
}

/// The cause as ktstr tells it of any loader's output. The numbers at the end of a log, that come with a higher level of it, stand
/// between what was refused and the line that an older verifier ends with.
[[nodiscard]] inline std::string cause_in_output(std::string_view output) {
    std::string text;
    for (const auto& line : lines_in(output))
        if (!line.starts_with("verification time ") && !line.starts_with("stack depth ") &&
            !line.starts_with("subprog "))
            text += line + '\n';
    return guest::last_words(text);
}

/// The line that names the cause; empty: the log has none.
[[nodiscard]] inline std::string cause_in(const std::string& program, const std::string& log) {
    auto words = cause_in_output("prog '" + program + "': -- BEGIN PROG LOAD LOG --\n" + log +
                                 "\n-- END PROG LOAD LOG --\n");
    if (words.find("-- END PROG LOAD LOG --") !=
        words.npos)  // nothing in it is an end of a verifier's
        words = guest::last_words(log);
    return host::one_line(words);
}

}  // namespace ktstr::tool
