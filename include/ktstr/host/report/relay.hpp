// SPDX-License-Identifier: MIT
// Events as lines, for the run around this one: a nested run happens inside an emulated machine, and
// its events are told outside as if they had happened there. Both ends are the same program, so the
// form is private and may change freely; it is not the public --json. Host side, on both ends.
#pragma once

#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/sink.hpp>
#include <ktstr/host/report/text.hpp>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

namespace detail {

using relay_json = nlohmann::json;

template <class T>
relay_json relay_optional(const std::optional<T>& value) {
    return value ? relay_json(*value) : relay_json(nullptr);
}
template <class T>
void relay_read(const relay_json& from, const char* key, std::optional<T>& to) {
    if (const auto at = from.find(key); at != from.end() && !at->is_null())
        to = at->get<T>();
}
inline relay_json relay_texts(const std::vector<std::string>& texts) {
    auto array = relay_json::array();
    for (const auto& text : texts)
        array.push_back(valid_utf8(text));
    return array;
}

}  // namespace detail

/// The end inside: one line an event.
class relay_reporter final : public reporter {
public:
    using reporter::on;

    explicit relay_reporter(std::unique_ptr<sink> out) : out_(std::move(out)) {}

    void on(const test_started& e) override {
        write({{"event", "started"},
               {"name", e.name},
               {"file", e.file},
               {"line", e.line},
               {"topology", e.topology},
               {"attempt", e.attempt},
               {"timeout_ms", e.timeout ? detail::relay_json(e.timeout->count()) : nullptr}});
    }
    void on(const test_waiting& e) override {
        write({{"event", "waiting"}, {"test", e.test}, {"why", valid_utf8(e.why)}});
    }
    void on(const stage_changed& e) override {
        write({{"event", "stage"}, {"test", e.test}, {"stage", e.stage}});
    }
    void on(const test_output& e) override {
        write({{"event", "output"},
               {"test", e.test},
               {"err", e.stream == output_stream::err},
               {"bytes", valid_utf8(e.bytes)}});
    }
    void on(const check_failed& e) override { write(check(e)); }
    void on(const test_finished& e) override {
        auto checks = detail::relay_json::array();
        for (const auto& c : e.failed_checks)
            checks.push_back(check(c));
        detail::relay_json line = {
            {"event", "finished"},
            {"name", e.name},
            {"verdict", to_text(e.result)},
            {"reason", to_text(e.why)},
            {"message", valid_utf8(e.message)},
            {"attempt", e.attempt},
            {"dilation", detail::relay_optional(e.dilation)},
            {"kernel", e.kernel ? detail::relay_json(valid_utf8(*e.kernel)) : nullptr},
            {"topology", detail::relay_optional(e.topology)},
            {"seed", detail::relay_optional(e.seed)},
            {"boot", detail::relay_optional(e.boot)},
            {"start_s", detail::relay_optional(e.start_s)},
            {"body_s", detail::relay_optional(e.body_s)},
            {"total_s", detail::relay_optional(e.total_s)},
            {"checks", detail::relay_optional(e.checks)},
            {"steal_guest_ticks", detail::relay_optional(e.steal_guest_ticks)},
            {"steal_host_ns", detail::relay_optional(e.steal_host_ns)},
            {"mask", detail::relay_optional(e.mask)},
            {"file", e.file},
            {"line", e.line},
            {"failed_checks", std::move(checks)},
            {"failed_check_count", e.failed_check_count},
            {"evidence", detail::relay_texts(e.evidence)},
            {"notes", detail::relay_texts(e.notes)},
            {"output_tail", detail::relay_texts(e.output_tail)},
            {"output_lines", e.output_lines},
            {"console_tail", detail::relay_texts(e.console_tail)}};
        if (e.outcome)
            line["outcome"] = {{"verdict", to_text(e.outcome->result)},
                               {"reason", to_text(e.outcome->why)},
                               {"flaky", e.outcome->flaky},
                               {"attempts", e.outcome->attempts}};
        write(line);
    }
    void on(const run_finished& e) override {
        write({{"event", "end"}, {"aborted", detail::relay_optional(e.aborted)}});
    }
    void on(const attempt_file& e) override {
        write({{"event", "file"},
               {"test", e.test},
               {"attempt", e.attempt},
               {"name", e.name},
               {"content", valid_utf8(e.content)}});
    }

    [[nodiscard]] std::optional<error> problem() const override { return out_->problem(); }

private:
    static detail::relay_json check(const check_failed& e) {
        return {{"event", "check"},
                {"test", e.test},
                {"attempt", e.attempt},
                {"file", valid_utf8(e.file)},
                {"line", e.line},
                {"kind", valid_utf8(e.kind)},
                {"expression", valid_utf8(e.expression)},
                {"expansion", valid_utf8(e.expansion)}};
    }
    void write(const detail::relay_json& line) { out_->write(line.dump() + '\n'); }

    std::unique_ptr<sink> out_;
};

/// The end outside: lines in, events out.
class relay_reader {
public:
    /// Takes one line and calls `on` with the event it holds. False when it is none: something else
    /// wrote to the same stream.
    template <class On>
    bool read(std::string_view text, const On& on) const {
        const auto line = detail::relay_json::parse(text, nullptr, false);
        if (!line.is_object() || !line.contains("event"))
            return false;
        try {
            const auto event = line.at("event").get<std::string>();
            if (event == "started")
                on(started(line));
            else if (event == "waiting")
                on(test_waiting{line.at("test"), line.at("why")});
            else if (event == "stage")
                on(stage_changed{line.at("test"), line.at("stage"), event_clock::now()});
            else if (event == "output")
                on(test_output{line.at("test"),
                               line.at("err").get<bool>() ? output_stream::err : output_stream::out,
                               line.at("bytes")});
            else if (event == "check")
                on(check(line));
            else if (event == "finished")
                on(finished(line));
            else if (event == "file")
                on(attempt_file{line.at("test"), line.at("attempt"), line.at("name"),
                                line.at("content")});
            else
                return event == "end";
            return true;
        } catch (const nlohmann::json::exception&) {
            return false;
        }
    }

private:
    static test_started started(const detail::relay_json& line) {
        test_started e;
        e.name = line.at("name");
        e.file = line.at("file");
        e.line = line.at("line");
        e.topology = line.at("topology");
        e.attempt = line.at("attempt");
        if (const auto& limit = line.at("timeout_ms"); !limit.is_null())
            e.timeout = std::chrono::milliseconds(limit.get<std::int64_t>());
        e.at = event_clock::now();
        return e;
    }
    static check_failed check(const detail::relay_json& line) {
        return {line.at("test"), line.at("attempt"),    line.at("file"),     line.at("line"),
                line.at("kind"), line.at("expression"), line.at("expansion")};
    }
    static test_finished finished(const detail::relay_json& line) {
        test_finished e;
        e.name = line.at("name");
        e.result =
            parse_verdict(line.at("verdict").get<std::string>()).value_or(verdict::inconclusive);
        e.why = parse_reason(line.at("reason").get<std::string>()).value_or(reason::infrastructure);
        e.message = line.at("message");
        e.attempt = line.at("attempt");
        detail::relay_read(line, "dilation", e.dilation);
        detail::relay_read(line, "kernel", e.kernel);
        detail::relay_read(line, "topology", e.topology);
        detail::relay_read(line, "seed", e.seed);
        detail::relay_read(line, "boot", e.boot);
        detail::relay_read(line, "start_s", e.start_s);
        detail::relay_read(line, "body_s", e.body_s);
        detail::relay_read(line, "total_s", e.total_s);
        detail::relay_read(line, "checks", e.checks);
        detail::relay_read(line, "steal_guest_ticks", e.steal_guest_ticks);
        detail::relay_read(line, "steal_host_ns", e.steal_host_ns);
        detail::relay_read(line, "mask", e.mask);
        e.file = line.at("file");
        e.line = line.at("line");
        for (const auto& c : line.at("failed_checks"))
            e.failed_checks.push_back(check(c));
        e.failed_check_count = line.at("failed_check_count");
        e.evidence = line.at("evidence").get<std::vector<std::string>>();
        e.notes = line.at("notes").get<std::vector<std::string>>();
        e.output_tail = line.at("output_tail").get<std::vector<std::string>>();
        e.output_lines = line.at("output_lines");
        e.console_tail = line.at("console_tail").get<std::vector<std::string>>();
        if (const auto at = line.find("outcome"); at != line.end())
            e.outcome = final_outcome{
                parse_verdict(at->at("verdict").get<std::string>()).value_or(verdict::inconclusive),
                parse_reason(at->at("reason").get<std::string>()).value_or(reason::infrastructure),
                at->at("flaky"), at->at("attempts")};
        return e;
    }
};

}  // namespace ktstr::host
