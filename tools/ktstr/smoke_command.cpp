// SPDX-License-Identifier: MIT
// `ktstr smoke SCHEDULER...`: each scheduler on each kernel and topology under the load of smoke_load.cpp, a machine
// each, and a table of what became of them. Host side.
#include "smoke_command.hpp"

#include <ktstr/embed.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/text/terminal.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include "kernel_programs.hpp"
#include "matrix.hpp"
#include "stoppable.hpp"
#include "subcommand.hpp"

namespace ktstr::tool {

namespace {

constexpr std::string_view of_kernel = "eevdf";
constexpr std::string_view of_sources = "kernel";

struct smoke_order {
    std::vector<std::string> schedulers, kernels, topologies;
    int seconds = 3;
    std::string accel = "auto", artifacts = "ktstr-artifacts";
    std::optional<std::string> markdown, junit;
};

/// What the tables and folders call each of these paths.
std::vector<std::string> names_of(const std::vector<std::string>& paths) {
    std::vector<std::string> names;
    for (const auto& path : paths)
        names.push_back(std::filesystem::path(path).filename().string());
    return numbered(std::move(names));
}

/// One kernel, or the default one, and what it is called.
struct smoke_kernel {
    std::string spec, title, folder;
};

matrix_cell run_one(const smoke_order& order, const std::string& program, const std::string& name,
                    const smoke_kernel& kernel, const std::string& topology,
                    const std::string& shape) {
    const bool is_eevdf = program == of_kernel;
    matrix_cell cell{name, kernel.spec.empty() ? shape : kernel.title + " " + shape, {}};
    run_options how;
    how.arguments = {
        "--quiet",
        "--accel",
        order.accel,
        "--topology",
        topology,
        "--artifacts",
        (std::filesystem::path(order.artifacts) / cell.row / kernel.folder / shape).string()};
    if (!kernel.spec.empty())
        how.arguments.insert(how.arguments.end(), {"--kernel", kernel.spec});
    if (is_eevdf)
        ::unsetenv("KTSTR_SCHEDULER_SMOKE");
    else
        ::setenv("KTSTR_SCHEDULER_SMOKE", program.c_str(), 1);
    cell.result =
        run_cell(fmt::format("{}_{}s", is_eevdf ? "smoke_eevdf" : "smoke", order.seconds), how);
    return cell;
}

/// The programs for one kernel, the word `kernel` in their places taken for those of its own sources.
result<std::vector<std::string>> programs_for(const std::string& kernel,
                                              const std::vector<std::string>& wanted,
                                              std::vector<std::shared_ptr<unique_fd>>& in_use) {
    std::vector<std::string> programs;
    for (const auto& one : wanted) {
        if (one != of_sources) {
            programs.push_back(one);
            continue;
        }
        const stoppable while_building;
        const auto in = host::cache::open();
        if (!in)
            return in.error();
        const auto resolved = host::resolve_kernel({kernel, true, say});
        if (!resolved)
            return resolved.error();
        const auto origin = source_of_kernel(*in, *resolved, say);
        if (!origin)
            return origin.error();
        const auto source = obtain_tools_source(*in, *origin, say);
        if (!source)
            return source.error();
        const auto built = obtain_kernel_schedulers(*in, *source, *resolved, say);
        if (!built)
            return built.error();
        in_use.push_back(built->in_use);
        for (const auto& program : built->programs)
            programs.push_back(program.string());
    }
    return programs;
}

/// The kernels that are meant, as the cells are asked for them.
std::vector<smoke_kernel> kernels_of(const smoke_order& order) {
    auto specs = order.kernels;
    if (specs.empty()) {
        const char* const given = std::getenv("KTSTR_KERNEL");
        specs.emplace_back(given != nullptr ? given : "");
    }
    const auto titles = numbered(specs), folders = names_of(specs);
    std::vector<smoke_kernel> kernels;
    for (std::size_t i = 0; i < specs.size(); ++i)
        kernels.push_back({specs[i], titles[i], specs[i].empty() ? "default" : folders[i]});
    return kernels;
}

int smoke(const smoke_order& order) {
    const auto kernels = kernels_of(order);
    std::vector<std::vector<std::string>> programs;
    std::vector<std::shared_ptr<unique_fd>> in_use;
    std::size_t all = 0;
    for (const auto& kernel : kernels) {
        auto its = programs_for(kernel.spec, order.schedulers, in_use);
        if (!its)
            return cannot(its.error());
        all += its->size() * order.topologies.size();
        programs.push_back(*std::move(its));
    }
    std::vector<matrix_cell> cells;
    const auto shapes = numbered(order.topologies);
    // What shares a machine's shape comes together: its template is in the host's cache then.
    for (std::size_t k = 0; k < kernels.size(); ++k)
        for (std::size_t t = 0; t < shapes.size(); ++t)
            for (std::size_t i = 0; i < programs[k].size(); ++i) {
                const auto names = names_of(programs[k]);
                cells.push_back(run_one(order, programs[k][i], names[i], kernels[k],
                                        order.topologies[t], shapes[t]));
                const auto& cell = cells.back();
                say(fmt::format("{} of {}: {}: {}{}{}", cells.size(), all, cell.name(), cell.word(),
                                cell.result.passed() ? "" : ": ", cell.why()));
                if (cell.result.ending == cell_ending::misused ||
                    cell.result.ending == cell_ending::stopped)
                    return cell.result.ending == cell_ending::misused ? exit_usage : exit_cannot;
            }
    if (const auto told =
            detail::tell_matrix(cells, "scheduler", "smoke", order.markdown, order.junit);
        !told)
        return cannot(told.error());
    return detail::exit_code_of(cells);
}

}  // namespace

void add_smoke_command(CLI::App& app, int& status) {
    CLI::App* const command = app.add_subcommand(
        "smoke", "Schedulers under a mixed load, on kernels and topologies: a table of verdicts");
    const auto order = std::make_shared<smoke_order>();
    order->topologies = {"1n1l2c1t", "1n2l2c1t", "2n2l2c2t"};
    command
        ->add_option(
            "SCHEDULER", order->schedulers,
            "Programs of schedulers; eevdf is the kernel's own class, and kernel are those of "
            "tools/sched_ext in each kernel's sources")
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
            if (program == of_kernel || program == of_sources)
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
