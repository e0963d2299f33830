// SPDX-License-Identifier: MIT
// The four verdicts, their order, the closed set of reasons, and the exit code they add up to.
// Constexpr and without any I/O. Used on both sides; nothing here decides what happened.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ktstr {

/// Ordered by severity: the worst of several is the greatest.
enum class verdict : std::uint8_t { skip, pass, inconclusive, fail };

/// What happened, when it is not a plain pass.
enum class reason : std::uint8_t {
    none,
    // in the body
    check,      ///< a failed check
    exception,  ///< something was thrown out of it
    signal,     ///< a deadly signal
    exit,       ///< its process ended by itself
    oom,        ///< killed for memory
    // the guest kernel
    panic,       ///< it died
    oops,        ///< it hurt itself and went on
    lockup,      ///< a CPU of it, or RCU, stood still
    guest_exit,  ///< powered off without a verdict
    // time
    timeout,       ///< the body ran out of it
    hang,          ///< the guest stopped answering
    boot_timeout,  ///< the guest never came up
    // the scheduler under test
    scheduler_attach,  ///< it could not be attached
    scheduler_exit,    ///< it ended or was ejected
    // what the scenario showed
    worker,  ///< a worker died or never worked
    oracle,  ///< an oracle fired
    // no judgement possible
    topology_mismatch,  ///< the machine was not what the test asked for
    infrastructure,     ///< the host side failed
    no_data,            ///< a gate had nothing to judge
    // not run
    requirement,  ///< the host lacks what the test requires
    skipped,      ///< the body said KTSTR_SKIP
};

namespace detail {

inline constexpr std::array<std::string_view, 4> verdict_names{"skip", "pass", "inconclusive",
                                                               "fail"};
inline constexpr std::array<std::string_view, 22> reason_names{
    "none",           "check",
    "exception",      "signal",
    "exit",           "oom",
    "panic",          "oops",
    "lockup",         "guest_exit",
    "timeout",        "hang",
    "boot_timeout",   "scheduler_attach",
    "scheduler_exit", "worker",
    "oracle",         "topology_mismatch",
    "infrastructure", "no_data",
    "requirement",    "skipped"};

template <class Enum, std::size_t N>
constexpr std::string_view name_of(Enum value, const std::array<std::string_view, N>& names) {
    const auto i = static_cast<std::size_t>(value);
    return i < N ? names[i] : std::string_view("?");
}

template <class Enum, std::size_t N>
constexpr std::optional<Enum> named(std::string_view text,
                                    const std::array<std::string_view, N>& names) {
    for (std::size_t i = 0; i < N; ++i)
        if (names[i] == text)
            return static_cast<Enum>(i);
    return std::nullopt;
}

}  // namespace detail

[[nodiscard]] constexpr std::string_view to_text(verdict v) {
    return detail::name_of(v, detail::verdict_names);
}
[[nodiscard]] constexpr std::string_view to_text(reason r) {
    return detail::name_of(r, detail::reason_names);
}
[[nodiscard]] constexpr std::optional<verdict> parse_verdict(std::string_view text) {
    return detail::named<verdict>(text, detail::verdict_names);
}
[[nodiscard]] constexpr std::optional<reason> parse_reason(std::string_view text) {
    return detail::named<reason>(text, detail::reason_names);
}

/// Fail > inconclusive > pass > skip.
[[nodiscard]] constexpr verdict worse(verdict a, verdict b) {
    return a < b ? b : a;
}

/// The verdict a reason stands for.
[[nodiscard]] constexpr verdict verdict_of(reason r) {
    if (r == reason::none)
        return verdict::pass;
    // A machine that never came up shows nothing of the scheduler, good or bad.
    if (r == reason::boot_timeout)
        return verdict::inconclusive;
    if (r <= reason::oracle)
        return verdict::fail;
    if (r <= reason::no_data)
        return verdict::inconclusive;
    return verdict::skip;
}

/// Whether this is the failure that a test marked expect_fail has promised: its body ran, and what it
/// checked did not hold. A machine that died, hung or never came up is not what anybody expects.
[[nodiscard]] constexpr bool is_expected_failure(reason r) {
    return r == reason::check;
}

/// The exit code of a run whose selected tests ended so: 1 one failed, 2 none failed but one was
/// inconclusive, 4 all were skipped, 0 otherwise. A range of nothing is 4 as well: that no test ran
/// must not look like success. (3 and 5 are the runner's own.)
template <class Verdicts>
[[nodiscard]] constexpr int exit_code(const Verdicts& verdicts) {
    verdict worst = verdict::skip;
    for (const verdict v : verdicts)
        worst = worse(worst, v);
    switch (worst) {
        case verdict::fail:
            return 1;
        case verdict::inconclusive:
            return 2;
        case verdict::pass:
            return 0;
        case verdict::skip:
            return 4;
    }
    return 2;
}

}  // namespace ktstr
