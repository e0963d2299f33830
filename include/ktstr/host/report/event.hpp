// SPDX-License-Identifier: MIT
// A run as a sequence of typed events, the only thing reporters know about it. Plain values that
// own their text; what is unknown is absent, never zero. Text may come from a guest unchecked: each
// reporter makes it harmless for its own readers.
// Host side.
#pragma once

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

/// First event of a run; nothing has been started yet.
struct run_started {
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
};

/// An attempt at a test begins.
struct test_started {
    std::string name;  ///< of the cell, as in all events
    std::string file;
    int line = 0;
    std::string topology;  ///< 1n2l4c1t
    int attempt = 1;
    std::optional<std::chrono::milliseconds> timeout;  ///< of the body, before it is scaled
    event_clock::time_point at{};
};

/// The attempt entered a stage: "boot" ("start" without a machine), "prove topology", "start
/// scheduler", "body", "collect". A clone proves nothing: its template has.
struct stage_changed {
    std::string test;
    std::string stage;
    event_clock::time_point at{};
};

/// A test has not started yet, and why.
struct test_waiting {
    std::string test;
    std::string why;
};

enum class output_stream { out, err };

/// Bytes the body wrote, as they came; a line may be spread over several events.
struct test_output {
    std::string test;
    output_stream stream = output_stream::out;
    std::string bytes;
};

/// One check that did not hold. Passed checks are only counted.
struct check_failed {
    std::string test;
    int attempt = 1;
    std::string file;
    int line = 0;
    std::string kind;                 ///< CHECK, REQUIRE or FAIL
    std::string expression;           ///< as written
    std::string expansion;            ///< with the operands' values
    std::string message{};            ///< the check's own text
    std::vector<std::string> info{};  ///< the lines of KTSTR_INFO around it
};

/// How a test came out of all its attempts.
struct final_outcome {
    verdict result = verdict::pass;
    reason why = reason::none;
    bool flaky = false;  ///< its attempts disagree: it passed, and it also did not
    int attempts = 1;

    friend bool operator==(const final_outcome&, const final_outcome&) = default;
};

/// One attempt is over. Down to `artifacts` these are the fields of the JSON "test" event.
struct test_finished {
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
    std::optional<std::string> boot;  ///< clone or cold
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
    std::vector<std::string> evidence;      ///< facts beside the cause, one line each
    std::vector<std::string> notes;         ///< worth knowing whatever the verdict
    std::vector<std::string> output_tail;   ///< last lines of the body's own output
    std::uint64_t output_lines = 0;         ///< how many there were
    std::vector<std::string> console_tail;  ///< last lines of the guest's console
    std::string replay;                     ///< the command that runs this attempt again

    /// Present on the last attempt of a test, and only there.
    std::optional<final_outcome> outcome;
};

/// The files that an attempt may leave for a person.
enum class artifact { console, output, qemu, command, scheduler };

inline constexpr std::array<std::string_view, 5> artifact_names{
    "console.log", "output.txt", "qemu.log", "command.txt", "scheduler.txt"};

[[nodiscard]] constexpr std::string_view to_text(artifact file) {
    return artifact_names[static_cast<std::size_t>(file)];
}
[[nodiscard]] constexpr std::optional<artifact> parse_artifact(std::string_view name) {
    for (std::size_t i = 0; i < artifact_names.size(); ++i)
        if (artifact_names[i] == name)
            return static_cast<artifact>(i);
    return std::nullopt;
}

/// A file that an attempt left, or the next piece of it, before its test_finished. Only told where
/// the attempt's machine is not this one, so that the file has to cross.
struct attempt_file {
    std::string test;
    int attempt = 1;
    artifact file = artifact::console;
    std::string content;
};

/// Last event of a run. Counts are of tests, not of attempts.
struct run_finished {
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
};

}  // namespace ktstr::host
