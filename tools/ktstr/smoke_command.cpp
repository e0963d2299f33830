// SPDX-License-Identifier: MIT
// `ktstr smoke SCHEDULER...`: each scheduler on each kernel and topology under the load of smoke_load.cpp, a machine
// each, and a table of what became of them. Host side.
#include "smoke_command.hpp"

#include <ktstr/embed.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/host/text/xml.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include "subcommand.hpp"
#include "table.hpp"

namespace ktstr::tool {

namespace {

constexpr std::string_view of_kernel = "eevdf";

struct smoke_order {
    std::vector<std::string> schedulers, kernels, topologies;
    int seconds = 3;
    std::string accel = "auto", artifacts = "ktstr-artifacts";
    std::optional<std::string> markdown, junit;
};

struct smoke_cell {
    std::string scheduler, kernel, topology;
    cell_result result;

    [[nodiscard]] std::string column() const {
        return kernel.empty() ? topology : kernel + " " + topology;
    }
    [[nodiscard]] std::string name() const { return scheduler + " on " + column(); }
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

/// What the tables call each program: its file's name, numbered where another has the same, so that no verdict
/// stands in another's place.
std::vector<std::string> names_of(const std::vector<std::string>& programs) {
    std::vector<std::string> names;
    std::map<std::string, int> seen;
    for (const auto& program : programs) {
        auto name = std::filesystem::path(program).filename().string();
        const int number = ++seen[name];
        names.push_back(number == 1 ? name : fmt::format("{}#{}", name, number));
    }
    return names;
}

smoke_cell run_one(const smoke_order& order, const std::string& program, const std::string& name,
                   const std::string& kernel, const std::string& topology) {
    const bool is_eevdf = program == of_kernel;
    smoke_cell cell{name, kernel, topology, {}};
    run_options how;
    how.arguments = {
        "--quiet",
        "--accel",
        order.accel,
        "--topology",
        topology,
        "--artifacts",
        (std::filesystem::path(order.artifacts) / cell.scheduler /
         (kernel.empty() ? "default" : std::filesystem::path(kernel).filename()) / topology)
            .string()};
    if (!kernel.empty())
        how.arguments.insert(how.arguments.end(), {"--kernel", kernel});
    if (is_eevdf)
        ::unsetenv("KTSTR_SCHEDULER_SMOKE");
    else
        ::setenv("KTSTR_SCHEDULER_SMOKE", program.c_str(), 1);
    cell.result =
        run_cell(fmt::format("{}_{}s", is_eevdf ? "smoke_eevdf" : "smoke", order.seconds), how);
    return cell;
}

/// Rows in the order of the command line, a column for each kernel and topology.
table table_of(const std::vector<smoke_cell>& cells) {
    std::vector<std::string> columns, rows;
    std::map<std::pair<std::string, std::string>, std::string> words;
    const auto add = [](auto& list, const std::string& text) {
        if (std::find(list.begin(), list.end(), text) == list.end())
            list.push_back(text);
    };
    for (const auto& cell : cells) {
        add(columns, cell.column());
        add(rows, cell.scheduler);
        words[{cell.scheduler, cell.column()}] = cell.word();
    }
    table rows_of_words{{"scheduler"}};
    rows_of_words[0].insert(rows_of_words[0].end(), columns.begin(), columns.end());
    for (const auto& row : rows) {
        rows_of_words.push_back({row});
        for (const auto& column : columns) {
            const auto found = words.find({row, column});
            rows_of_words.back().push_back(found == words.end() ? "not run" : found->second);
        }
    }
    return rows_of_words;
}

std::string markdown_of(const std::vector<smoke_cell>& cells) {
    std::string text = as_markdown(table_of(cells));
    for (const auto& cell : cells)
        if (!cell.result.passed())
            text += fmt::format("\n- {}, {}: {}", in_markdown(cell.name()),
                                in_markdown(cell.word()), in_markdown(cell.why()));
    return text + '\n';
}

std::string as_junit(const std::vector<smoke_cell>& cells) {
    std::string tests;
    int failures = 0, errors = 0, skipped = 0;
    for (const auto& cell : cells) {
        const auto& result = cell.result;
        tests += fmt::format("  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"",
                             host::xml_attribute("smoke." + cell.scheduler),
                             host::xml_attribute(cell.column()),
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
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"ktstr smoke\" tests=\"{}\" "
        "failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n{}</testsuite>\n",
        cells.size(), failures, errors, skipped, tests);
}

result<void> write_file(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file)
        return system_error("write", path);
    return {};
}

/// The worst of all, as a run of tests has it.
int exit_code_of(const std::vector<smoke_cell>& cells) {
    const auto some = [&](auto is) { return std::any_of(cells.begin(), cells.end(), is); };
    if (some([](const auto& c) { return c.result.verdict == verdict::fail; }))
        return 1;
    if (some([](const auto& c) { return !c.result.verdict; }))
        return exit_cannot;
    if (some([](const auto& c) { return c.result.verdict == verdict::inconclusive; }))
        return 2;
    return some([](const auto& c) { return c.result.passed(); }) ? 0 : 4;
}

int smoke(const smoke_order& order) {
    const auto kernels = order.kernels.empty() ? std::vector<std::string>{""} : order.kernels;
    const auto names = names_of(order.schedulers);
    std::vector<smoke_cell> cells;
    const std::size_t all = order.schedulers.size() * kernels.size() * order.topologies.size();
    // What shares a machine's shape comes together: its template is in the host's cache then.
    for (const auto& kernel : kernels)
        for (const auto& topology : order.topologies)
            for (std::size_t i = 0; i < order.schedulers.size(); ++i) {
                cells.push_back(run_one(order, order.schedulers[i], names[i], kernel, topology));
                const auto& cell = cells.back();
                say(fmt::format("{} of {}: {}: {}{}{}", cells.size(), all, cell.name(), cell.word(),
                                cell.result.passed() ? "" : ": ", cell.why()));
                if (cell.result.ending == cell_ending::misused ||
                    cell.result.ending == cell_ending::stopped)
                    return cell.result.ending == cell_ending::misused ? exit_usage : exit_cannot;
            }
    fmt::print("{}", on_a_terminal(table_of(cells)));
    std::fflush(stdout);
    for (const auto& [path, text] :
         {std::pair{order.markdown, markdown_of(cells)}, std::pair{order.junit, as_junit(cells)}})
        if (path)
            if (const auto written = write_file(*path, text); !written)
                return cannot(written.error());
    return exit_code_of(cells);
}

}  // namespace

void add_smoke_command(CLI::App& app, int& status) {
    CLI::App* const command = app.add_subcommand(
        "smoke", "Schedulers under a mixed load, on kernels and topologies: a table of verdicts");
    const auto order = std::make_shared<smoke_order>();
    order->topologies = {"1n1l2c1t", "1n2l2c1t", "2n2l2c2t"};
    command
        ->add_option("SCHEDULER", order->schedulers,
                     "Programs of schedulers; eevdf is the kernel's own")
        ->required();
    command->add_option("--kernel", order->kernels, "As for tests; repeatable")
        ->allow_extra_args(false);
    command->add_option("--topology", order->topologies, "As 1n2l4c2t; repeatable")
        ->allow_extra_args(false)
        ->capture_default_str();
    command->add_option("--seconds", order->seconds, "Of load for each, in the guest's time")
        ->check(CLI::IsMember({1, 3, 10, 60}))
        ->capture_default_str();
    command->add_option("--accel", order->accel, "As for tests")->capture_default_str();
    command->add_option("--artifacts", order->artifacts, "Where the files of what did not pass go")
        ->capture_default_str();
    command->add_option("--markdown", order->markdown, "The table as Markdown, into this file");
    command->add_option("--junit", order->junit, "The verdicts as JUnit XML, into this file");
    command->callback([=, &status] {
        for (auto& program : order->schedulers) {
            if (program == of_kernel)
                continue;
            if (::access(program.c_str(), X_OK) != 0) {
                status = cannot(
                    system_error("start", program, "give the path of a scheduler's program"));
                return;
            }
            program = std::filesystem::absolute(program).string();
        }
        status = smoke(*order);
    });
}

}  // namespace ktstr::tool
