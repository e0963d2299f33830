// SPDX-License-Identifier: MIT
// Tables of words, the first row the head: aligned for a terminal, and as Markdown. Host side.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::tool {

using table = std::vector<std::vector<std::string>>;

[[nodiscard]] inline std::string on_a_terminal(const table& rows) {
    std::vector<std::size_t> widths(rows[0].size());
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], row[i].size());
    std::string text;
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i)
            text += i + 1 == row.size() ? row[i] : fmt::format("{:<{}}  ", row[i], widths[i]);
        text += '\n';
    }
    return text;
}

/// Whatever would end a cell of the table or begin something else.
[[nodiscard]] inline std::string in_markdown(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '|' || c == '\\' || c == '<' || c == '*' || c == '_' || c == '`')
            out += '\\';
        out += c;
    }
    return out;
}

[[nodiscard]] inline std::string as_markdown(const table& rows) {
    std::string text;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        text += '|';
        for (const auto& word : rows[i])
            text += ' ' + in_markdown(word) + " |";
        text += '\n';
        if (i == 0) {
            text += '|';
            for (std::size_t k = 0; k < rows[0].size(); ++k)
                text += " --- |";
            text += '\n';
        }
    }
    return text;
}

}  // namespace ktstr::tool
