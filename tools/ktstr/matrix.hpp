// SPDX-License-Identifier: MIT
// Verdicts as a table with a row for each thing that was run and a column for each machine: in a terminal, as Markdown,
// as JUnit XML, and as an exit code. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/embed.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/host/text/xml.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "subcommand.hpp"
#include "table.hpp"

namespace ktstr::tool {

struct matrix_cell {
    std::string row, column;
    cell_result result;

    [[nodiscard]] std::string name() const { return row + " on " + column; }
    /// "pass", or the verdict and its reason; what was not judged has neither.
    [[nodiscard]] std::string word() const {
        if (!result.verdict)
            return std::string(to_text(result.ending));
        std::string text(to_text(*result.verdict));
        if (result.reason != reason::none)
            text += fmt::format(" ({})", to_text(result.reason));
        return text;
    }
    [[nodiscard]] std::string why() const { return host::one_line(result.message); }
};

/// Names for a table: numbered where another is the same, so that no verdict stands in another's place.
inline std::vector<std::string> numbered(std::vector<std::string> names) {
    std::map<std::string, int> seen;
    for (auto& name : names)
        if (const int number = ++seen[name]; number > 1)
            name += '#' + std::to_string(number);
    return names;
}

namespace detail {

/// Rows and columns in the order in which they came; `corner` says what the rows are.
inline table table_of(const std::vector<matrix_cell>& cells, const std::string& corner) {
    std::vector<std::string> columns, rows;
    std::map<std::pair<std::string, std::string>, std::string> words;
    const auto add = [](auto& list, const std::string& text) {
        if (std::find(list.begin(), list.end(), text) == list.end())
            list.push_back(text);
    };
    for (const auto& cell : cells) {
        add(columns, cell.column);
        add(rows, cell.row);
        words[{cell.row, cell.column}] = cell.word();
    }
    table words_of_rows{{corner}};
    words_of_rows[0].insert(words_of_rows[0].end(), columns.begin(), columns.end());
    for (const auto& row : rows) {
        words_of_rows.push_back({row});
        for (const auto& column : columns) {
            const auto found = words.find({row, column});
            words_of_rows.back().push_back(found == words.end() ? "not run" : found->second);
        }
    }
    return words_of_rows;
}

inline std::string markdown_of(const std::vector<matrix_cell>& cells, const std::string& corner) {
    std::string text = as_markdown(table_of(cells, corner));
    for (const auto& cell : cells)
        if (!cell.result.passed())
            text += fmt::format("\n- {}, {}: {}", in_markdown(cell.name()),
                                in_markdown(cell.word()), in_markdown(cell.why()));
    return text + '\n';
}

inline std::string as_junit(const std::vector<matrix_cell>& cells, const std::string& suite) {
    std::string tests;
    int failures = 0, errors = 0, skipped = 0;
    for (const auto& cell : cells) {
        const auto& result = cell.result;
        tests += fmt::format("  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"",
                             host::xml_attribute(suite + "." + cell.row),
                             host::xml_attribute(cell.column),
                             result.total_time ? result.total_time->count() : 0.0);
        if (result.passed()) {
            tests += "/>\n";
            continue;
        }
        const bool is_skip = result.verdict == verdict::skip;
        const bool is_fail = result.verdict == verdict::fail;
        (is_skip ? skipped : is_fail ? failures : errors)++;
        const char* const element = is_skip ? "skipped" : is_fail ? "failure" : "error";
        tests += fmt::format(">\n    <{0} message=\"{1}\">{2}</{0}>\n  </testcase>\n", element,
                             host::xml_attribute(cell.word() + ": " + result.message),
                             host::xml_text(result.text));
    }
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"ktstr {}\" tests=\"{}\" "
        "failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n{}</testsuite>\n",
        host::xml_attribute(suite), cells.size(), failures, errors, skipped, tests);
}

inline result<void> write_file(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file)
        return system_error("write", path);
    return {};
}

/// The worst of all, as a run of tests has it.
inline int exit_code_of(const std::vector<matrix_cell>& cells) {
    const auto some = [&](auto is) { return std::any_of(cells.begin(), cells.end(), is); };
    if (some([](const auto& c) { return c.result.verdict == verdict::fail; }))
        return 1;
    if (some([](const auto& c) { return !c.result.verdict; }))
        return exit_cannot;
    if (some([](const auto& c) { return c.result.verdict == verdict::inconclusive; }))
        return 2;
    return some([](const auto& c) { return c.result.passed(); }) ? 0 : 4;
}

/// Prints the table, and writes it into the files that were asked for.
inline result<void> tell_matrix(const std::vector<matrix_cell>& cells, const std::string& corner,
                                const std::string& suite,
                                const std::optional<std::string>& markdown,
                                const std::optional<std::string>& junit) {
    fmt::print("{}", on_a_terminal(table_of(cells, corner)));
    std::fflush(stdout);
    if (markdown)
        if (auto written = write_file(*markdown, markdown_of(cells, corner)); !written)
            return written;
    if (junit)
        return write_file(*junit, as_junit(cells, suite));
    return {};
}

}  // namespace detail

}  // namespace ktstr::tool
