// SPDX-License-Identifier: MIT
// What --list prints. Build systems call it after every link, so it is one pass into one buffer and
// needs nothing that a run needs: no QEMU, no kernel, no host facts.
// Host side.
#pragma once

#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/json/write.hpp>
#include <ktstr/host/plan/select.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace ktstr::host {

/// The machine a test runs on: --topology, else its own.
[[nodiscard]] constexpr topology machine_shape(const test_spec& spec,
                                               const std::optional<topology>& override) {
    return override ? *override : spec.shape();
}

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

inline void write_json_test(json::writer& out, const test_case& test,
                            const std::optional<topology>& override) {
    const test_spec& spec = test.spec;
    const topology shape = machine_shape(spec, override);
    const int cpus = shape.total_cpus();
    out.begin_object();
    out.field("name", test.name);
    out.field("file", test.file);
    out.field("line", test.line);
    out.field("topology", to_text(shape).view());
    out.name("tags");
    out.begin_array();
    for (const auto tag : spec.tags)
        out.add(tag);
    out.end_array();
    out.field("cpus", cpus);
    out.field("memory_mib", memory_rule(cpus, spec.memory_mib));
    out.name("timeout_s");
    add_seconds(out, spec.body_limit().count());
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
[[nodiscard]] inline std::string list_text(const test_list& tests, const options& wanted) {
    json::writer out(json::spacing::single, tests.size() * 400 + 8);
    if (wanted.format == list_format::text) {
        for (const test_case* test : tests) {
            out.raw(test->name);
            out.raw("\n");
        }
        return out.take();
    }
    const char* before = "[\n";
    for (const test_case* test : tests) {
        out.raw(before);
        detail::write_json_test(out, *test, wanted.topology);
        before = ",\n";
    }
    out.raw(tests.empty() ? "[]\n" : "\n]\n");
    return out.take();
}

}  // namespace ktstr::host
