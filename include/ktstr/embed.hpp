// SPDX-License-Identifier: MIT
// For programs that keep their own main(), built with NO_MAIN: what it calls first, ktstr's command line,
// and single cells run for another runner, as GoogleTest's or Catch2's. Light, values only; nothing here
// throws but for want of memory. Host side.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/base/result.hpp>
#include <ktstr/check/metric.hpp>
#include <ktstr/check/verdict.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr {

/// The first call of a main(), before anything else of it. A program is also started by ktstr itself: as
/// the first process of a machine, as the keeper of a host_only body, and as the run inside a nested one.
/// Then this is that life, and main() returns its status. Nothing: this process is the one that was
/// started by a person or a build system.
[[nodiscard]] std::optional<int> take_role(int argc, char** argv);

/// ktstr's own command line from here on, and its exit code, to which belongs that a stop signal came. Signals
/// do afterwards what they did before. `--list` is part of it, so a main() that
/// passes its arguments to this is one that CTest can ask for its tests.
[[nodiscard]] int run(int argc, char** argv);

/// How cells are run: what a command line may say of machines, attempts and artefacts, as
/// {"--accel", "tcg"}. The environment's variables count as they do there, but for shards.
struct run_options {
    std::vector<std::string> arguments{};
};

/// One cell, as `--list` knows it.
struct cell_info {
    std::string name;  ///< what run_cell() takes
    std::string test;
    std::string file;
    int line = 0;
    std::vector<std::string> tags{};
    bool host_only = false;
    std::chrono::milliseconds timeout{};  ///< of the body, before it is scaled
};

/// All cells of this program, in the order of their declaration; needs nothing that a run needs.
[[nodiscard]] result<std::vector<cell_info>> list_cells(const run_options& how = {});

enum class cell_ending : std::uint8_t {
    judged,      ///< it has a verdict
    misused,     ///< no such cell, an argument that is none, no take_role(): nothing was tried
    impossible,  ///< the host could not do it, see the message: nothing is known of the test
    stopped,     ///< by SIGINT, SIGTERM or SIGHUP
};

[[nodiscard]] constexpr std::string_view to_text(cell_ending ending) {
    constexpr std::string_view names[] = {"judged", "misused", "impossible", "stopped"};
    const auto i = static_cast<unsigned>(ending);
    return i < 4 ? names[i] : "?";
}

struct cell_check {
    std::string file;
    int line = 0;
    std::string kind;        ///< CHECK, REQUIRE or FAIL
    std::string expression;  ///< as written
    std::string expansion;   ///< with the operands' values
    std::string message;
    std::vector<std::string> info;
};

struct cell_metric {
    std::string name;
    double value = 0;
    std::string unit;
    ktstr::better better = better::neither;
};

/// What became of one cell. Of several attempts it is the outcome of all, and the rest is of one that came
/// out like that: the last attempt, else the first.
struct cell_result {
    std::string name;
    cell_ending ending = cell_ending::impossible;
    std::optional<ktstr::verdict> verdict{};  ///< present exactly when it was judged
    ktstr::reason reason = ktstr::reason::none;
    std::string message{};  ///< the cause in one line; empty for a pass
    std::string text{};     ///< all that a person needs to see of it, as lines; empty for a pass

    /// The first hundreds; the count is of all. Not only of a failure: an expect_fail test passes with them.
    std::vector<cell_check> failed_checks{};
    std::uint64_t failed_check_count = 0;
    std::vector<cell_metric> metrics{};
    std::vector<std::string> notes{};  ///< also what a flaky pass came to before
    std::optional<std::uint64_t> checks{};
    std::optional<std::string> artifacts{};  ///< the folder of an attempt that did not pass
    std::optional<std::string> accel{}, kernel{}, topology{}, scheduler{};
    std::optional<std::uint64_t> seed{};
    std::optional<std::chrono::duration<double>> body_time{}, total_time{};
    int attempts = 0;
    bool flaky = false;

    [[nodiscard]] bool passed() const { return verdict == ktstr::verdict::pass; }
};

/// Runs the cell of exactly this name, and nothing of it is left when this returns, or when the process is
/// killed. May be called as often as one likes; the host is looked at once for the same options. Calls
/// from several threads wait for each other. A stop signal ends the machine first and then does what it
/// would have done without ktstr: by default it ends the process.
[[nodiscard]] cell_result run_cell(std::string_view name, const run_options& how = {});

}  // namespace ktstr
