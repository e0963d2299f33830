// SPDX-License-Identifier: MIT
// What a guest says of its scheduler in words for a report: what the kernel counted against it, and how
// it ended. A guest's bytes are no text until they were looked at. Pure. Host side.
#pragma once

#include <ktstr/host/text/utf8.hpp>
#include <ktstr/wire/message.hpp>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

namespace detail {

/// "SCX_EV_BYPASS_ACTIVATE 3"
[[nodiscard]] inline std::optional<std::uint64_t> counter_of(
    const std::vector<std::string>& counters, std::string_view name) {
    for (const std::string_view line : counters) {
        std::uint64_t value = 0;
        if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ')
            continue;
        const auto* const end = line.data() + line.size();
        const auto read = std::from_chars(line.data() + name.size() + 1, end, value);
        if (read.ec == std::errc() && read.ptr == end)
            return value;
    }
    return std::nullopt;
}

[[nodiscard]] inline std::string milliseconds_text(std::uint64_t ns) {
    return std::to_string(ns / 1'000'000) + '.' + std::to_string(ns / 100'000 % 10) + " ms";
}

}  // namespace detail

/// What is worth knowing whatever the verdict. What stood still is not there: silence means that the
/// kernel let the scheduler do its work.
[[nodiscard]] inline std::vector<std::string> scheduler_notes(const wire::scheduler_facts& facts) {
    std::vector<std::string> notes;
    if (facts.partial == true)
        notes.push_back(
            "the scheduler ran only the tasks that ask for SCHED_EXT (SCX_OPS_SWITCH_PARTIAL); all "
            "others were the kernel's own");
    const auto bypassed = detail::counter_of(facts.counters, "SCX_EV_BYPASS_ACTIVATE").value_or(0);
    // Taking a scheduler off is a bypass too.
    if (bypassed > (facts.ended ? 1U : 0U)) {
        std::string note = "the kernel bypassed the scheduler " + std::to_string(bypassed) +
                           (bypassed == 1 ? " time" : " times");
        if (const auto lasted = detail::counter_of(facts.counters, "SCX_EV_BYPASS_DURATION"))
            note += ", for " + detail::milliseconds_text(*lasted);
        notes.push_back(std::move(note));
    }
    for (const std::string_view line : facts.counters)
        if (const auto name = line.substr(0, line.find(' '));
            name.find("RESCUE") != std::string_view::npos)
            if (const auto times = detail::counter_of(facts.counters, name))
                notes.push_back("the kernel ran tasks in the scheduler's stead: " +
                                valid_utf8(name) + ' ' + std::to_string(*times));
    if (const auto rejected = detail::counter_of(facts.counters, "nr_rejected"))
        notes.push_back("the scheduler rejected " + std::to_string(*rejected) +
                        (*rejected == 1 ? " task" : " tasks") + " (nr_rejected)");
    if (facts.ended) {
        // Whoever waited for it: a pass over an error is said.
        if (facts.kind.starts_with("error"))
            notes.push_back("the scheduler ended by an error: " + valid_utf8(facts.reason) +
                            (facts.message.empty() ? "" : ": " + valid_utf8(facts.message)) + " (" +
                            valid_utf8(facts.kind) + ')');
        if (facts.fell_back_ns)
            notes.push_back(
                "after the end of the scheduler all tasks were back with the kernel's "
                "own in " +
                detail::milliseconds_text(*facts.fell_back_ns));
        if (!facts.state_after.empty() && facts.state_after != "disabled")
            notes.push_back("after the end of the scheduler sched_ext was '" +
                            valid_utf8(facts.state_after) + "' and not 'disabled'");
    }
    if (facts.output_dropped > 0)
        notes.push_back(std::to_string(facts.output_dropped) +
                        " bytes of the scheduler's output beyond the limit were dropped");
    return notes;
}

/// The same as numbers, under names that begin with "scheduler/": how long the attach took, how long all tasks took
/// back to the kernel's own class, and each of the kernel's counters that moved while the test ran. What was not
/// measured is not there.
[[nodiscard]] inline std::vector<wire::metric> scheduler_metrics(
    const wire::scheduler_facts& facts) {
    std::vector<wire::metric> all;
    const auto add = [&all](std::string name, double value, const char* unit, better which) {
        wire::metric one{
            .name = "scheduler/" + std::move(name), .value = value, .unit = unit, .better = which};
        if (one.fault() == nullptr)
            all.push_back(std::move(one));
    };
    if (facts.attach_ns)
        add("attach", static_cast<double>(*facts.attach_ns) / 1e9, "s", better::lower);
    if (facts.fell_back_ns)
        add("fall_back", static_cast<double>(*facts.fell_back_ns) / 1e9, "s", better::lower);
    for (const std::string_view line : facts.counters) {
        const auto name = line.substr(0, line.find(' '));
        const auto value = detail::counter_of(facts.counters, name);
        if (!value || all.size() >= 64)
            continue;
        std::string lower(name);
        for (char& c : lower)
            c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        const bool is_time = name.ends_with("_DURATION");
        add(std::move(lower), static_cast<double>(*value) / (is_time ? 1e9 : 1), is_time ? "s" : "",
            name == "nr_rejected" || name.find("BYPASS") != name.npos ? better::lower
                                                                      : better::neither);
    }
    return all;
}

/// The kernel's record of its end as a file; empty: it did not end.
[[nodiscard]] inline std::string scheduler_record(const wire::scheduler_facts& facts) {
    if (!facts.ended)
        return {};
    std::string text = "scheduler: " + facts.ops + "\nkind: " + facts.kind +
                       "\nreason: " + facts.reason + "\nmessage: " + facts.message +
                       "\ncode: " + std::to_string(facts.code) + '\n';
    if (facts.partial == true)
        text += "partial: only tasks that ask for SCHED_EXT\n";
    if (facts.fell_back_ns)
        text += "fell back in: " + detail::milliseconds_text(*facts.fell_back_ns) + '\n';
    for (const auto& line : facts.counters)
        text += line + '\n';
    if (!facts.dump.empty())
        text += '\n' + facts.dump;
    return text;
}

}  // namespace ktstr::host
