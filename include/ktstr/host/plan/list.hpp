// SPDX-License-Identifier: MIT
// What --list prints. Build systems call it after every link, so it is one pass into one buffer and
// needs nothing that a run needs: no QEMU, no kernel, no host facts.
// Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cell/stage_limits.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/json/write.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/topology/topology.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ktstr::host {

namespace detail {

/// Milliseconds as seconds without a float's surprises: 42, 2.5, 0.001.
inline void add_seconds(json::writer& out, std::int64_t milliseconds) {
    if (milliseconds % 1000 == 0)
        return out.add(milliseconds / 1000);
    std::string text = std::to_string(milliseconds / 1000) + '.' +
                       std::to_string(1000 + milliseconds % 1000).substr(1);
    text.erase(text.find_last_not_of('0') + 1);
    out.number_text(text);
}

/// What host/attempt allows, stage by stage: preparing, an attach, the body, an end to be explained, the outcome.
[[nodiscard]] inline std::chrono::milliseconds all_but_the_boot(const cell& one) {
    const bool attaches = one.has_machine() && one.scheduler->has_program();
    auto all = stage_limits::preparing(one.topology.total_cpus()) + one.spec().body_limit() +
               stage_limits::behind_body(attaches) + stage_limits::collecting;
    if (attaches)
        all += one.spec().body_limit() + stage_limits::attaching;
    return all;
}

inline void write_json_cell(json::writer& out, const cell& one,
                            const std::vector<std::string>& kernels) {
    const test_spec& spec = one.spec();
    const int cpus = one.topology.total_cpus();
    out.begin_object();
    out.field("name", one.name);
    out.field("test", one.test->name);
    out.field("file", one.test->file);
    out.field("line", one.test->line);
    out.name("scheduler");
    one.has_machine() ? out.add(one.scheduler->name) : out.null();
    out.field("topology", to_text(one.topology).view());
    out.name("kernel");
    one.has_machine() && one.kernel < kernels.size() ? out.add(kernels[one.kernel]) : out.null();
    out.name("tags");
    out.begin_array();
    for (const auto tag : spec.tags)
        out.add(tag);
    out.end_array();
    out.field("cpus", cpus);
    out.field("memory_mib", memory_rule(cpus, spec.memory_mib));
    out.name("timeout_s");
    add_seconds(out, spec.body_limit().count());
    // With all that is allowed before and behind the body, on a guest as fast as the host; without its boot.
    out.name("limit_s");
    add_seconds(out, all_but_the_boot(one).count());
    out.field("cpu_budget", spec.cpu_budget);
    out.name("requirements");
    out.begin_array();
    if (spec.requires_steal)
        out.add("steal");
    if (spec.requires_kvm)
        out.add("kvm");
    if (spec.performance_mode)
        out.add("performance_mode");
    out.end_array();
    out.field("host_only", spec.host_only);
    out.field("expect_fail", spec.expect_fail);
    out.end_object();
}

}  // namespace detail

/// The whole of --list, to be written in one go.
[[nodiscard]] inline std::string list_text(const cell_list& cells, const options& wanted) {
    json::writer out(json::spacing::single, cells.size() * 500 + 8);
    if (wanted.format == list_format::text) {
        for (const cell& one : cells) {
            out.raw(one.name);
            out.raw("\n");
        }
        return out.take();
    }
    const char* before = "[\n";
    for (const cell& one : cells) {
        out.raw(before);
        detail::write_json_cell(out, one, wanted.kernels);
        before = ",\n";
    }
    out.raw(cells.empty() ? "[]\n" : "\n]\n");
    return out.take();
}

}  // namespace ktstr::host
