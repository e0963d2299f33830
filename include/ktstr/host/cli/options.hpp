// SPDX-License-Identifier: MIT
// What the person asked for, after arguments and environment were merged (arguments win). Plain
// values, already checked; nothing here knows how they were spelled. See parse.hpp for that.
// Host side.
#pragma once

#include <ktstr/host/cli/fault.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

enum class list_format { text, json };
enum class accel_wish { automatic, kvm, tcg, nested };
enum class color_wish { automatic, always, never };

/// As --accel and KTSTR_ACCEL spell it.
[[nodiscard]] constexpr std::string_view to_text(accel_wish wish) {
    switch (wish) {
        case accel_wish::automatic:
            return "auto";
        case accel_wish::kvm:
            return "kvm";
        case accel_wish::tcg:
            return "tcg";
        case accel_wish::nested:
            return "nested";
    }
    return "auto";
}

/// Which part of the selection this process runs: the tests whose index modulo `total` is `index`.
struct shard {
    int index = 0;
    int total = 1;
    std::string status_file;  ///< to be touched by a run, so that Bazel sees that we can shard

    friend bool operator==(const shard&, const shard&) = default;
};

/// Switches of ktstr's own test suite; absent from --help and free to change.
struct internal_options {
    bool no_mask = false;           ///< leave the vCPU threads where the host puts them
    std::optional<link_kind> link;  ///< force one kind of link
    std::optional<int> body_fd;     ///< be the body process of the one test in `filters`
    injected_faults faults;
    bool relay = false;      ///< send events to the run outside the machine this one is nested in
    bool templates = false;  ///< only make the templates of the selected tests
    std::string agent_id;    ///< see guest_roles; no argument
    std::optional<std::uint64_t> calibration_ns;  ///< the real host's speed, when nested
};

struct options {
    std::string program;  ///< argv[0], for replay commands

    // What to do; none of these: run the tests.
    bool list = false;
    bool dry_run = false;
    bool shell = false;
    bool doctor = false;
    list_format format = list_format::text;

    // Which tests.
    std::vector<std::string> filters;
    std::vector<std::string> tags;
    std::vector<std::string> excludes;
    std::optional<shard> part;  ///< from the sharding variables; unset: everything

    // On which machine.
    accel_wish accel = accel_wish::automatic;
    std::vector<std::string> kernels;         ///< as typed; none: the default kernel
    std::optional<ktstr::topology> topology;  ///< replaces the topology of every selected test
    bool no_clone = false;

    // How often, how many, how long.
    std::optional<int> jobs;     ///< tests at a time; unset: what the host's CPUs carry
    std::optional<int> cpu_cap;  ///< KTSTR_CPU_CAP: host CPUs the whole run may use
    std::optional<int> repeat;   ///< unset: once, or without end under until_fail
    bool until_fail = false;
    int retries = 0;
    std::uint64_t seed = 0;
    bool seed_was_given = false;
    /// KTSTR_SCHEDULER_NAME: other programs for schedulers, for replay commands.
    std::vector<std::pair<std::string, std::string>> scheduler_variables;
    std::vector<std::string> notes;  ///< what a person should know of these wishes, said aloud

    // What comes out.
    std::optional<std::string> junit;
    std::optional<std::string> json;  ///< "-" is standard output
    bool tap = false;
    bool keep = false;
    std::optional<std::string> artifacts;
    bool verbose = false;
    bool quiet = false;
    color_wish color = color_wish::automatic;

    // Where things live.
    std::optional<std::string>
        lock_dir;  ///< KTSTR_LOCK_DIR; that of the cache is cache_root()'s matter

    internal_options internal;

    /// True when a machine-readable report owns standard output and people read standard error.
    [[nodiscard]] bool stdout_is_report() const { return tap || json == "-"; }
};

}  // namespace ktstr::host
