// SPDX-License-Identifier: MIT
// What --list prints. Build systems call it after every link, so it is one pass into one buffer and
// needs nothing that a run needs: no QEMU, no kernel, no host facts.
// Host side.
#pragma once

#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/plan/select.hpp>
#include <ktstr/host/report/text.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace ktstr::host {

/// The machine a test runs on: --topology, else its own.
[[nodiscard]] constexpr topology machine_shape(const test_spec& spec,
                                               const std::optional<topology>& override) {
    return override ? *override : spec.shape();
}

namespace detail {

/// Bytes that grow at the end. Test programs are mostly built without optimization, and there the
/// appending members of std::string, templates all the way down, are most of what --list costs.
class list_writer {
public:
    explicit list_writer(std::size_t guess) { storage_.resize(guess); }

    template <std::size_t N>
    void literal(const char (&text)[N]) {
        bytes(text, N - 1);
    }

    void bytes(const char* text, std::size_t size) {
        if (storage_.size() - used_ < size)
            storage_.resize(2 * storage_.size() + size);
        std::memcpy(storage_.data() + used_, text, size);
        used_ += size;
    }

    void text(std::string_view text) { bytes(text.data(), text.size()); }

    void json(std::string_view value) {
        if (is_plain(value.data(), value.data() + value.size())) {
            bytes("\"", 1);
            text(value);
            bytes("\"", 1);
            return;
        }
        std::string quoted;
        append_json_string(quoted, value);
        text(quoted);
    }

    void number(std::int64_t number) {
        char digits[24];
        char* at = digits + sizeof digits;
        const bool negative = number < 0;
        do {
            const auto digit = static_cast<int>(number % 10);
            *--at = static_cast<char>('0' + (digit < 0 ? -digit : digit));
        } while ((number /= 10) != 0);
        if (negative)
            *--at = '-';
        bytes(at, static_cast<std::size_t>(digits + sizeof digits - at));
    }

    /// Milliseconds as seconds without a float's surprises: 42, 2.5, 0.001.
    void seconds(std::int64_t milliseconds) {
        number(milliseconds / 1000);
        if (const auto rest = milliseconds % 1000; rest != 0) {
            std::string digits = std::to_string(1000 + rest).substr(1);
            digits.erase(digits.find_last_not_of('0') + 1);
            text('.' + digits);
        }
    }

    [[nodiscard]] std::string take() {
        storage_.resize(used_);
        return std::move(storage_);
    }

private:
    std::string storage_;
    std::size_t used_ = 0;
};

inline void write_json_test(list_writer& out, const test_case& test,
                            const std::optional<topology>& override) {
    const test_spec& spec = test.spec;
    const topology shape = machine_shape(spec, override);
    const int cpus = shape.total_cpus();
    bool first = true;
    const auto item = [&](std::string_view text) {
        if (!first)
            out.literal(", ");
        first = false;
        out.json(text);
    };

    out.literal("{\"name\": ");
    out.json(test.name);
    out.literal(", \"file\": ");
    out.json(test.file);
    out.literal(", \"line\": ");
    out.number(test.line);
    out.literal(", \"topology\": ");
    out.json(to_text(shape).view());
    out.literal(", \"tags\": [");
    for (const auto tag : spec.tags)
        item(tag);
    out.literal("], \"cpus\": ");
    out.number(cpus);
    out.literal(", \"memory_mib\": ");
    out.number(memory_rule(cpus, spec.memory_mib));
    out.literal(", \"timeout_s\": ");
    out.seconds(spec.body_limit().count());
    out.literal(", \"cpu_budget\": ");
    if (spec.cpu_budget)
        out.number(*spec.cpu_budget);
    else
        out.literal("null");
    out.literal(", \"requirements\": [");
    first = true;
    if (spec.requires_steal)
        item("steal");
    if (spec.requires_kvm)
        item("kvm");
    if (spec.performance_mode)
        item("performance_mode");
    out.literal("], \"host_only\": ");
    out.text(spec.host_only ? "true" : "false");
    out.literal(", \"expect_fail\": ");
    out.text(spec.expect_fail ? "true" : "false");
    out.literal("}");
}

}  // namespace detail

/// The whole of --list, to be written in one go.
[[nodiscard]] inline std::string list_text(const test_list& tests, const options& wanted) {
    detail::list_writer out(tests.size() * 400 + 8);
    if (wanted.format == list_format::text) {
        for (const test_case* test : tests) {
            out.text(test->name);
            out.literal("\n");
        }
        return out.take();
    }
    out.literal("[");
    bool first = true;
    for (const test_case* test : tests) {
        if (!first)
            out.literal(",");
        first = false;
        out.literal("\n");
        detail::write_json_test(out, *test, wanted.topology);
    }
    if (!first)
        out.literal("\n");
    out.literal("]\n");
    return out.take();
}

}  // namespace ktstr::host
