// SPDX-License-Identifier: MIT
// --json: one object a line, as things happen. The fields of the "test" event are the public
// contract; what is unknown is null. A line is written whole or not at all.
// Host side.
#pragma once

#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/report/text.hpp>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ktstr::host {

namespace detail {

using json_object = nlohmann::ordered_json;

[[nodiscard]] inline json_object json_value(std::string_view text) {
    return valid_utf8(text);
}
[[nodiscard]] inline json_object json_value(const std::string& text) {
    return valid_utf8(text);
}
template <class Number>
requires std::is_arithmetic_v<Number>
[[nodiscard]] json_object json_value(Number number) {
    return number;
}
template <class Value>
[[nodiscard]] json_object json_value(const std::optional<Value>& value) {
    return value ? json_value(*value) : json_object(nullptr);
}
[[nodiscard]] inline json_object json_value(const std::vector<std::string>& texts) {
    auto array = json_object::array();
    for (const auto& text : texts)
        array.push_back(valid_utf8(text));
    return array;
}

/// Rounded, because nobody measured the microseconds that a double would show. Not a number: null.
[[nodiscard]] inline json_object json_rounded(std::optional<double> value, double steps = 1000) {
    if (!value || !std::isfinite(*value))
        return nullptr;
    return std::round(*value * steps) / steps;
}

}  // namespace detail

class json_reporter final : public reporter {
public:
    using reporter::on;

    explicit json_reporter(std::unique_ptr<sink> out) : out_(std::move(out)) {}

    void on(const run_started& e) override {
        using detail::json_value;
        write({{"event", "run"},
               {"phase", "start"},
               {"version", json_value(e.version)},
               {"program", json_value(e.program)},
               {"seed", e.seed},
               {"accel", json_value(e.accel)},
               {"kernel", json_value(e.kernel)},
               {"tests", e.selected},
               {"jobs", json_value(e.jobs)},
               {"shard_index", json_value(e.shard_index)},
               {"shard_total", json_value(e.shard_total)},
               {"notes", json_value(e.notes)}});
    }

    void on(const check_failed& e) override {
        using detail::json_value;
        write({{"event", "check"},
               {"test", json_value(e.test)},
               {"attempt", e.attempt},
               {"file", json_value(e.file)},
               {"line", e.line},
               {"kind", json_value(e.kind)},
               {"expression", json_value(e.expression)},
               {"expansion", json_value(e.expansion)},
               {"passed", false}});
    }

    void on(const test_finished& e) override {
        using detail::json_rounded;
        using detail::json_value;
        const auto unless = [](bool absent, std::string_view text) {
            return absent ? detail::json_object(nullptr) : json_value(text);
        };
        write({{"event", "test"},
               {"name", json_value(e.name)},
               {"verdict", json_value(to_text(e.result))},
               {"reason", unless(e.why == reason::none, to_text(e.why))},
               {"message", unless(e.message.empty(), e.message)},
               {"attempt", e.attempt},
               {"accel", json_value(e.accel)},
               {"dilation", json_rounded(e.dilation, 100)},
               {"kernel", json_value(e.kernel)},
               {"topology", json_value(e.topology)},
               {"seed", json_value(e.seed)},
               {"boot", json_value(e.boot)},
               {"start_s", json_rounded(e.start_s)},
               {"body_s", json_rounded(e.body_s)},
               {"total_s", json_rounded(e.total_s)},
               {"checks", json_value(e.checks)},
               {"steal_guest_ticks", json_value(e.steal_guest_ticks)},
               {"steal_host_ns", json_value(e.steal_host_ns)},
               {"mask", json_value(e.mask)},
               {"artifacts", json_value(e.artifacts)}});
    }

    void on(const run_finished& e) override {
        using detail::json_value;
        write({{"event", "run"},
               {"phase", "end"},
               {"exit_code", e.exit_code},
               {"tests", e.selected},
               {"pass", e.passed},
               {"fail", e.failed},
               {"skip", e.skipped},
               {"inconclusive", e.inconclusive},
               {"flaky", json_value(e.flaky)},
               {"aborted", json_value(e.aborted)},
               {"seed", e.seed},
               {"total_s", detail::json_rounded(e.total_s)}});
    }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    void write(const detail::json_object& object) {
        // The texts were made valid above; `replace` is for whatever is added without that.
        out_->write(object.dump(-1, ' ', false, detail::json_object::error_handler_t::replace) +
                    '\n');
    }

    std::unique_ptr<sink> out_;
};

}  // namespace ktstr::host
