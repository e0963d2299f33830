// SPDX-License-Identifier: MIT
// Commands as a POSIX shell reads them back, for people who run one again. Host side.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

/// A word a POSIX shell reads back as exactly `text`; quoted only where that is needed.
[[nodiscard]] inline std::string shell_word(std::string_view text) {
    constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
    if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos)
        return std::string(text);
    std::string out = "'";
    for (char c : text) {
        if (c == '\'')
            out += "'\\''";
        else
            out += c;
    }
    return out += '\'';
}

/// The words as one line that a POSIX shell reads back as exactly them.
[[nodiscard]] inline std::string shell_quoted(const std::vector<std::string>& words) {
    std::string line;
    for (const auto& word : words) {
        if (!line.empty())
            line += ' ';
        line += shell_word(word);
    }
    return line;
}

}  // namespace ktstr::host
