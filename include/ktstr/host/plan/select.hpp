// SPDX-License-Identifier: MIT
// Which of the program's cells this process runs: --filter, --tag, --exclude, then the shard.
// Decides by names and tags alone; what the host can carry is for the planner.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cell/kernel_names.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/plan/pattern.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/test/registry.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace ktstr::host {

using test_list = std::vector<const test_case*>;

/// The tests in the order of their declaration: by file, then line. The linker's own order depends
/// on the order of objects on its command line, and sharding must not.
[[nodiscard]] inline test_list in_declaration_order(std::span<const test_case* const> tests) {
    test_list ordered(tests.begin(), tests.end());
    const auto before = [](const test_case* a, const test_case* b) {
        // Tests of one source file mostly share the very same literal.
        if (a->file.data() != b->file.data())
            if (const int order = a->file.compare(b->file); order != 0)
                return order < 0;
        return a->line != b->line ? a->line < b->line : a->name < b->name;
    };
    if (!std::is_sorted(ordered.begin(), ordered.end(), before))
        std::stable_sort(ordered.begin(), ordered.end(), before);
    return ordered;
}

/// Fails when two tests share a name, because then no report and no filter could tell them apart.
[[nodiscard]] inline result<void> require_distinct_names(std::span<const test_case* const> tests) {
    std::unordered_map<std::string_view, const test_case*> seen;
    seen.reserve(tests.size());
    for (const test_case* test : tests) {
        const auto [first, fresh] = seen.emplace(test->name, test);
        if (fresh)
            continue;
        const auto place = [](const test_case& t) {
            return std::string(t.file) + ':' + std::to_string(t.line);
        };
        return plain_error("tell apart the tests named", std::string(test->name),
                           place(*first->second) + " and " + place(*test), "rename one of them");
    }
    return {};
}

namespace detail {

[[nodiscard]] inline bool has_tag(const test_case& test, std::string_view tag) {
    return std::find(test.spec.tags.begin(), test.spec.tags.end(), tag) != test.spec.tags.end();
}

[[nodiscard]] inline error selects_nothing(std::string_view argument, std::string_view text,
                                           std::string_view reason) {
    return plain_error("use", std::string(argument) + ' ' + shell_word(one_line(text, 120)),
                       std::string(reason), "see --list for what there is");
}

}  // namespace detail

/// The cells of all tests, in declaration order and then by scheduler, topology and kernel.
[[nodiscard]] inline result<cell_list> all_cells(std::span<const test_case* const> tests,
                                                 const options& wanted) {
    auto kernels = kernel_names(wanted.kernels);
    if (!kernels)
        return std::move(kernels).error();
    const cell_choices run{
        .topology = wanted.topology, .kernels = std::move(*kernels), .seed = wanted.seed};
    cell_list cells;
    cells.reserve(tests.size());
    for (const test_case* test : in_declaration_order(tests))
        for (auto& one : cells_of(*test, run))
            cells.push_back(std::move(one));
    return cells;
}

/// Whether a pattern names a cell, or its test, or a group between: `wakes` and `wakes/scx_simple` name
/// `wakes/scx_simple/1n1l4c1t`, as a path names what lies below it.
[[nodiscard]] constexpr bool selects(std::string_view pattern, std::string_view cell_name) {
    for (auto end = cell_name.find('/');; end = cell_name.find('/', end + 1)) {
        if (matches(pattern, cell_name.substr(0, end)))
            return true;
        if (end == std::string_view::npos)
            return false;
    }
}

/// The selected cells in their order, before sharding. An error is a usage error (exit 5).
/// Patterns of one kind are alternatives; a cell must satisfy every kind that was given. A program
/// without tests selects nothing without an error: what that means depends on the action.
[[nodiscard]] inline result<cell_list> select_cells(std::span<const test_case* const> tests,
                                                    const options& wanted) {
    auto every = all_cells(tests, wanted);
    if (!every)
        return std::move(every).error();
    cell_list ordered = std::move(*every);

    // A mistyped pattern among good ones must not pass silently, so each is asked alone.
    for (const auto& pattern : wanted.filters)
        if (std::none_of(ordered.begin(), ordered.end(),
                         [&](const cell& one) { return selects(pattern, one.name); }))
            return detail::selects_nothing("--filter", pattern, "no test has such a name");
    for (const auto& tag : wanted.tags)
        if (std::none_of(ordered.begin(), ordered.end(),
                         [&](const cell& one) { return detail::has_tag(*one.test, tag); }))
            return detail::selects_nothing("--tag", tag, "no test carries this tag");

    const bool had_tests = !ordered.empty();
    const auto any = [](const std::vector<std::string>& wishes, auto&& holds) {
        return std::any_of(wishes.begin(), wishes.end(), holds);
    };
    const auto carries_one = [&](const cell& one) {
        return wanted.tags.empty() || any(wanted.tags, [&](const std::string& tag) {
                   return detail::has_tag(*one.test, tag);
               });
    };
    // Of several patterns one may be good for nothing because of the tags.
    const auto emptied =
        std::find_if(wanted.filters.begin(), wanted.filters.end(), [&](const std::string& pattern) {
            return std::none_of(ordered.begin(), ordered.end(), [&](const cell& one) {
                return carries_one(one) && selects(pattern, one.name);
            });
        });
    std::erase_if(ordered, [&](const cell& one) {
        const auto named = [&](const std::string& pattern) { return selects(pattern, one.name); };
        return (!wanted.filters.empty() && !any(wanted.filters, named)) || !carries_one(one) ||
               any(wanted.excludes, named);
    });
    if (had_tests && ordered.empty()) {
        std::string arguments;
        const auto name_all = [&](std::string_view argument, const std::vector<std::string>& all) {
            for (const auto& text : all)
                arguments += (arguments.empty() ? "" : " ") + std::string(argument) + ' ' +
                             shell_word(one_line(text, 120));
        };
        name_all("--filter", wanted.filters);
        name_all("--tag", wanted.tags);
        name_all("--exclude", wanted.excludes);
        return plain_error("use", std::move(arguments), "together they select no test",
                           "see --list for what there is");
    }
    if (emptied != wanted.filters.end())
        return detail::selects_nothing("--filter", *emptied,
                                       "no test of such a name carries a tag that is selected");
    if (wanted.shell && ordered.size() > 1)
        return plain_error("use", "--shell", std::to_string(ordered.size()) + " tests are selected",
                           "select one with --filter NAME");
    return ordered;
}

/// The cells of one shard, dealt out like cards. May be empty, which is no error.
[[nodiscard]] inline cell_list shard_cells(const cell_list& selected, const shard& part) {
    cell_list mine;
    for (auto i = static_cast<std::size_t>(part.index); i < selected.size();
         i += static_cast<std::size_t>(part.total))
        mine.push_back(selected[i]);
    return mine;
}

/// Touches the status file by which a runner learns that sharding is understood.
[[nodiscard]] inline result<void> announce_sharding(const shard& part) {
    if (part.status_file.empty())
        return {};
    const int fd =
        ::open(part.status_file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return system_error("touch the shard status file", part.status_file);
    ::close(fd);
    return {};
}

}  // namespace ktstr::host
