// SPDX-License-Identifier: MIT
// A cell: what is run. One test under one scheduler, on one topology and one kernel, with a name that
// stays. Made here and nowhere else; reports, filters, shards, files and commands that run something
// again take names from it. Host side.
#pragma once

#include <ktstr/sched/scheduler.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

struct cell {
    /// The test's, and "/value" for each dimension with more than one: scheduler, topology, kernel.
    std::string name;
    const test_case* test = nullptr;
    const ktstr::scheduler* scheduler = &eevdf;
    ktstr::topology topology{};
    std::size_t kernel = 0;  ///< which of the run's, in the order of --kernel
    std::uint64_t seed = 0;

    [[nodiscard]] const test_spec& spec() const { return test->spec; }
    /// The body of any other runs on the host, and none of the dimensions is its business.
    [[nodiscard]] bool has_machine() const { return !test->spec.host_only; }

    /// Whose programs and files its guest finds: the scheduler that it begins with, and where that has a
    /// program, those that its body may attach instead.
    [[nodiscard]] std::vector<const ktstr::scheduler*> its_schedulers() const {
        std::vector<const ktstr::scheduler*> all{scheduler};
        if (scheduler->has_program())
            all.insert(all.end(), spec().staged.begin(), spec().staged.end());
        return all;
    }

    friend bool operator==(const cell&, const cell&) = default;
};

using cell_list = std::vector<cell>;

/// What a run says of every cell.
struct cell_choices {
    std::optional<ktstr::topology> topology = {};  ///< instead of whatever a test says
    /// How the run's kernels are called in names; one or none adds nothing to them.
    std::vector<std::string> kernels = {};
    std::uint64_t seed = 0;
};

/// The cells of one test. Never none.
[[nodiscard]] inline cell_list cells_of(const test_case& test, const cell_choices& run) {
    const auto& spec = test.spec;
    const auto shape_under = [&](const scheduler& one) {
        return run.topology.value_or(spec.shape_under(one));
    };
    if (spec.host_only)
        return {{.name = std::string(test.name),
                 .test = &test,
                 .topology = shape_under(eevdf),
                 .seed = run.seed}};
    std::vector<const scheduler*> schedulers(spec.schedulers.begin(), spec.schedulers.end());
    if (schedulers.empty())
        schedulers.push_back(spec.scheduler != nullptr ? spec.scheduler : &eevdf);
    std::vector<ktstr::topology> topologies;
    if (!run.topology)
        for (const auto text : spec.topologies)
            if (const auto shape = parse_topology(text))
                topologies.push_back(*shape);
    const auto kernels = run.kernels.empty() ? std::size_t{1} : run.kernels.size();

    cell_list cells;
    cells.reserve(schedulers.size() * (topologies.empty() ? 1 : topologies.size()) * kernels);
    for (const scheduler* under : schedulers) {
        const auto add = [&](const ktstr::topology& shape) {
            for (std::size_t kernel = 0; kernel < kernels; ++kernel) {
                std::string name(test.name);
                if (schedulers.size() > 1)
                    name.append("/").append(under->name);
                if (topologies.size() > 1)
                    name.append("/").append(to_text(shape).view());
                if (kernels > 1)
                    name.append("/").append(run.kernels[kernel]);
                cells.push_back({.name = std::move(name),
                                 .test = &test,
                                 .scheduler = under,
                                 .topology = shape,
                                 .kernel = kernel,
                                 .seed = run.seed});
            }
        };
        if (topologies.empty())
            add(shape_under(*under));
        for (const auto& shape : topologies)
            add(shape);
    }
    return cells;
}

/// The name where a file system sees it: one part of a path, and another one for each name, for no part
/// of a name has an '@'.
[[nodiscard]] inline std::string file_name_of(std::string_view cell_name) {
    std::string name(cell_name);
    for (char& c : name)
        if (c == '/')
            c = '@';
    return name;
}

}  // namespace ktstr::host
