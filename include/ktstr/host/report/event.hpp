// SPDX-License-Identifier: MIT
// A run as a sequence of typed events, the only thing reporters know about it. Plain values that
// own their text; what is unknown is absent, never zero. Text may come from a guest unchecked: each
// reporter makes it harmless for its own readers. Each event lists its fields once, with the reports
// that tell them; JSON, relay, JUnit and TAP walk that list. docs/reference.md is made of it.
// Host side.
#pragma once

#include <ktstr/check/metric.hpp>
#include <ktstr/check/verdict.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

using event_clock = std::chrono::steady_clock;

/// A field of an event, as its list has it: its name, the reports that tell it, and what else is known of
/// its values. A test_finished's check or metric is one of its fields, and has fields itself.
struct field {
    const char* name;
    unsigned is;
    [[nodiscard]] bool has(unsigned what) const { return (is & what) != 0; }
};
inline constexpr unsigned in_json = 1, in_relay = 2, in_junit = 4, in_tap = 8;
inline constexpr unsigned positive = 16;    ///< a number above 0
inline constexpr unsigned hundredths = 32;  ///< measured no finer; elsewhere thousandths
inline constexpr unsigned or_null = 64;     ///< an empty text is an unknown one
inline constexpr unsigned as_bytes = 128;   ///< no text but bytes of any kind
inline constexpr unsigned unrounded = 256;  ///< a number told as it is

/// First event of a run; nothing has been started yet.
struct run_started {
    static constexpr std::string_view event = "run", phase = "start";
    std::string version;       ///< of ktstr
    std::string program;       ///< as it was called
    std::size_t selected = 0;  ///< tests this process will run
    std::uint64_t seed = 0;
    std::string accel;                  ///< what was asked for: auto, kvm, tcg or nested
    std::optional<std::string> kernel;  ///< release or path, once it is known
    std::optional<int> jobs;            ///< tests at a time; absent: what the host carries
    std::optional<int> shard_index;
    std::optional<int> shard_total;
    std::vector<std::string> notes;  ///< said once for the whole run: a fallback, a limit
    std::chrono::system_clock::time_point wall_time{};
    event_clock::time_point at{};

    static void fields(auto& e, auto& f) {
        f({"version", in_json}, e.version);
        f({"program", in_json}, e.program);
        f({"seed", in_json | in_junit}, e.seed);
        f({"accel", in_json | in_junit}, e.accel);
        f({"kernel", in_json | in_junit}, e.kernel);
        f({"tests", in_json}, e.selected);
        f({"jobs", in_json}, e.jobs);
        f({"shard_index", in_json}, e.shard_index);
        f({"shard_total", in_json}, e.shard_total);
        f({"notes", in_json}, e.notes);
    }
};

/// An attempt at a test begins.
struct test_started {
    static constexpr std::string_view event = "started";
    std::string name;  ///< of the cell, as in all events
    std::string file;
    int line = 0;
    std::string topology;  ///< 1n2l4c1t
    int attempt = 1;
    std::optional<std::chrono::milliseconds> timeout;  ///< of the body, before it is scaled
    event_clock::time_point at{};

    static void fields(auto& e, auto& f) {
        f({"name", in_relay}, e.name);
        f({"attempt", in_relay | positive}, e.attempt);
    }
};

/// The attempt entered a stage: "boot" ("start" without a machine), "prove topology", "start
/// scheduler", "body", "collect". A clone proves nothing: its template has.
struct stage_changed {
    static constexpr std::string_view event = "stage";
    std::string test;
    std::string stage;
    event_clock::time_point at{};

    static void fields(auto& e, auto& f) {
        f({"test", in_relay}, e.test);
        f({"stage", in_relay}, e.stage);
    }
};

/// A test has not started yet, and why.
struct test_waiting {
    static constexpr std::string_view event = "waiting";
    std::string test;
    std::string why;

    static void fields(auto& e, auto& f) {
        f({"test", in_relay}, e.test);
        f({"why", in_relay}, e.why);
    }
};

enum class output_stream { out, err };

inline constexpr std::array<std::string_view, 2> output_stream_names{"out", "err"};

[[nodiscard]] constexpr std::string_view to_text(output_stream stream) {
    return ktstr::detail::name_of(stream, output_stream_names);
}

/// Bytes the body wrote, as they came; a line may be spread over several events.
struct test_output {
    static constexpr std::string_view event = "output";
    std::string test;
    output_stream stream = output_stream::out;
    std::string bytes;

    static void fields(auto& e, auto& f) {
        f({"test", in_relay}, e.test);
        f({"stream", in_relay}, e.stream);
        f({"bytes", in_relay | as_bytes}, e.bytes);
    }
};

/// One check that did not hold. Passed checks are only counted.
struct check_failed {
    static constexpr std::string_view event = "check";
    std::string test;
    int attempt = 1;
    std::string file;
    int line = 0;
    std::string kind;                 ///< CHECK, REQUIRE or FAIL
    std::string expression;           ///< as written
    std::string expansion;            ///< with the operands' values
    std::string message{};            ///< the check's own text
    std::vector<std::string> info{};  ///< the lines of KTSTR_INFO around it
    bool passed = false;

    static void fields(auto& e, auto& f) {
        f({"test", in_json | in_relay}, e.test);
        f({"attempt", in_json | in_relay | positive}, e.attempt);
        f({"file", in_json | in_relay}, e.file);
        f({"line", in_json | in_relay}, e.line);
        f({"kind", in_json | in_relay}, e.kind);
        f({"expression", in_json | in_relay}, e.expression);
        f({"expansion", in_json | in_relay}, e.expansion);
        f({"message", in_json | in_relay | or_null}, e.message);
        f({"info", in_json | in_relay}, e.info);
        f({"passed", in_json}, e.passed);
    }
};

/// A number that the body measured in an attempt. It changes no verdict.
struct metric_measured {
    static constexpr std::string_view event = "metric";
    std::string test;
    int attempt = 1;
    std::string name;  ///< of the metric
    double value = 0;
    std::string unit{};                             ///< empty: a plain number
    ktstr::better better = ktstr::better::neither;  ///< higher, lower or neither

    static void fields(auto& e, auto& f) {
        f({"name", in_json | in_relay}, e.test);
        f({"attempt", in_json | in_relay | positive}, e.attempt);
        f({"metric", in_json | in_relay | in_tap}, e.name);
        f({"value", in_json | in_relay | in_tap | unrounded}, e.value);
        f({"unit", in_json | in_relay | in_tap}, e.unit);
        f({"better", in_json | in_relay | in_tap}, e.better);
    }
};

/// How a test came out of all its attempts.
struct final_outcome {
    verdict result = verdict::pass;
    reason why = reason::none;
    bool flaky = false;  ///< its attempts disagree: it passed, and it also did not
    int attempts = 1;

    friend bool operator==(const final_outcome&, const final_outcome&) = default;

    static void fields(auto& e, auto& f) {
        f({"verdict", in_tap}, e.result);
        f({"reason", in_tap}, e.why);
        f({"attempts", in_tap}, e.attempts);
    }
};

/// One attempt is over.
struct test_finished {
    static constexpr std::string_view event = "test";
    std::string name;
    std::string test;  ///< the name without the dimensions
    verdict result = verdict::pass;
    reason why = reason::none;
    std::string message;  ///< the cause in one line; empty for a pass
    int attempt = 1;
    std::optional<std::string> accel;
    std::optional<double> dilation;
    std::optional<std::string> scheduler;
    std::optional<std::string> kernel;
    std::optional<std::string> topology;
    std::optional<std::uint64_t> seed;
    std::optional<std::string> boot;    ///< clone or cold
    std::optional<std::string> attach;  ///< where the scheduler was attached: template or test
    std::optional<double> start_s;
    std::optional<double> body_s;
    std::optional<double> total_s;
    std::optional<std::uint64_t> checks;
    std::optional<std::uint64_t> steal_guest_ticks;
    std::optional<std::uint64_t> steal_host_ns;
    std::optional<std::string> mask;  ///< what keeps the vCPUs on their CPUs: cpuset or affinity
    std::optional<std::string> artifacts;

    std::string file;
    int line = 0;
    std::vector<check_failed> failed_checks;  ///< the first ones; the events carry all of them
    std::uint64_t failed_check_count = 0;
    std::vector<metric_measured> metrics;   ///< all that the events told
    std::vector<std::string> evidence;      ///< facts beside the cause, one line each
    std::vector<std::string> notes;         ///< worth knowing whatever the verdict
    std::vector<std::string> output_tail;   ///< last lines of the body's own output
    std::uint64_t output_lines = 0;         ///< how many there were
    std::vector<std::string> console_tail;  ///< last lines of the guest's console
    std::string replay;                     ///< the command that runs this attempt again

    /// Present on the last attempt of a test, and only there.
    std::optional<final_outcome> outcome;

    static void fields(auto& e, auto& f) {
        f({"name", in_json | in_relay}, e.name);
        f({"test", in_json}, e.test);
        f({"verdict", in_json | in_relay}, e.result);
        f({"reason", in_json | in_relay}, e.why);
        f({"message", in_json | in_relay | in_tap | or_null}, e.message);
        f({"attempt", in_json | in_relay | positive}, e.attempt);
        f({"accel", in_json | in_junit | in_tap}, e.accel);
        f({"dilation", in_json | in_relay | in_junit | in_tap | hundredths}, e.dilation);
        f({"scheduler", in_json | in_junit}, e.scheduler);
        f({"kernel", in_json | in_relay | in_junit}, e.kernel);
        f({"topology", in_json | in_junit | in_tap}, e.topology);
        f({"seed", in_json | in_junit | in_tap}, e.seed);
        f({"boot", in_json | in_relay | in_junit}, e.boot);
        f({"attach", in_json | in_relay | in_junit}, e.attach);
        f({"start_s", in_json | in_relay}, e.start_s);
        f({"body_s", in_json | in_relay}, e.body_s);
        f({"total_s", in_json | in_relay}, e.total_s);
        f({"checks", in_json | in_relay | in_junit}, e.checks);
        f({"steal_guest_ticks", in_json | in_relay | in_junit}, e.steal_guest_ticks);
        f({"steal_host_ns", in_json | in_relay | in_junit}, e.steal_host_ns);
        f({"mask", in_json | in_relay}, e.mask);
        f({"artifacts", in_json | in_junit | in_tap}, e.artifacts);
        f({"failed_checks", in_relay | in_tap}, e.failed_checks);
        f({"metrics", in_junit | in_tap}, e.metrics);
        f({"failed_check_count", in_relay}, e.failed_check_count);
        f({"evidence", in_relay}, e.evidence);
        f({"notes", in_relay}, e.notes);
        f({"output_tail", in_relay}, e.output_tail);
        f({"output_lines", in_relay}, e.output_lines);
        f({"console_tail", in_relay}, e.console_tail);
        f({"replay", in_tap}, e.replay);
    }
};

/// The files that an attempt may leave for a person.
enum class artifact { console, output, qemu, command, scheduler };

inline constexpr std::array<std::string_view, 5> artifact_names{
    "console.log", "output.txt", "qemu.log", "command.txt", "scheduler.txt"};

[[nodiscard]] constexpr std::string_view to_text(artifact file) {
    return ktstr::detail::name_of(file, artifact_names);
}

/// A file that an attempt left, or the next piece of it, before its test_finished. Only told where
/// the attempt's machine is not this one, so that the file has to cross.
struct attempt_file {
    static constexpr std::string_view event = "file";
    std::string test;
    int attempt = 1;
    artifact file = artifact::console;
    std::string content;

    static void fields(auto& e, auto& f) {
        f({"test", in_relay}, e.test);
        f({"attempt", in_relay | positive}, e.attempt);
        f({"file", in_relay}, e.file);
        f({"bytes", in_relay | as_bytes}, e.content);
    }
};

/// Last event of a run. Counts are of tests, not of attempts.
struct run_finished {
    static constexpr std::string_view event = "run", phase = "end";
    struct timed {
        std::string name;
        double seconds = 0;
    };
    std::size_t selected = 0;
    std::size_t passed = 0;
    std::size_t failed = 0;
    std::size_t skipped = 0;
    std::size_t inconclusive = 0;
    std::vector<std::string> flaky;
    std::vector<timed> slowest;  ///< longest first
    double total_s = 0;
    std::uint64_t seed = 0;
    int exit_code = 0;
    std::optional<std::string> aborted;  ///< why tests were left out, if some were

    [[nodiscard]] std::size_t finished() const { return passed + failed + skipped + inconclusive; }

    static void fields(auto& e, auto& f) {
        f({"exit_code", in_json}, e.exit_code);
        f({"tests", in_json}, e.selected);
        f({"pass", in_json}, e.passed);
        f({"fail", in_json}, e.failed);
        f({"skip", in_json}, e.skipped);
        f({"inconclusive", in_json}, e.inconclusive);
        f({"flaky", in_json}, e.flaky);
        f({"aborted", in_json | in_relay | in_junit}, e.aborted);
        f({"seed", in_json}, e.seed);
        f({"total_s", in_json}, e.total_s);
    }
};

}  // namespace ktstr::host
