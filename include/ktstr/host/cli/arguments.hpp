// SPDX-License-Identifier: MIT
// The one table of what a command line and the environment may say: names, values, help and what
// each sets. Parsing, --help and its list of variables follow from it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/topology/topology.hpp>

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host::detail {

/// A value as a message shows it: one harmless line, quoted where its ends would not be seen.
[[nodiscard]] inline std::string shown(std::string_view value) {
    return shell_word(one_line(value, 120));
}

/// A value that was given, and how the person who gave it would recognize it.
struct given {
    std::string_view name;
    std::string_view value;
    bool is_variable = false;

    [[nodiscard]] error complain(std::string reason, std::string hint) const {
        return plain_error("use", std::string(name) + (is_variable ? '=' : ' ') + shown(value),
                           std::move(reason), std::move(hint));
    }
};

template <class Number>
[[nodiscard]] std::optional<Number> parse_number(std::string_view text, int base = 10) {
    Number number{};
    const auto [end, failed] =
        std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (failed != std::errc{} || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return number;
}

[[nodiscard]] inline result<int> read_count(const given& g, int smallest) {
    const auto number = parse_number<int>(g.value);
    if (!number || *number < smallest)
        return g.complain(smallest == 0 ? "not a number from 0 up" : "not a positive number",
                          "give a whole number from " + std::to_string(smallest) + " to " +
                              std::to_string(std::numeric_limits<int>::max()));
    return *number;
}

/// The place of the value among the words that are accepted.
[[nodiscard]] inline result<int> read_word(const given& g,
                                           std::initializer_list<std::string_view> words) {
    std::string accepted;
    int at = 0;
    for (const auto word : words) {
        if (word == g.value)
            return at;
        ++at;
        accepted += accepted.empty() ? "" : word == *(words.end() - 1) ? " or " : ", ";
        accepted += word;
    }
    return g.complain("no such choice", "give " + accepted);
}

// ---- what a row of the table does with its value ------------------------------------------------

using setter = result<void> (*)(options&, const given&);

template <auto member>
result<void> set_flag(options& to, const given&) {
    to.*member = true;
    return {};
}
template <auto member>
result<void> set_text(options& to, const given& g) {
    to.*member = std::string(g.value);
    return {};
}
template <auto member>
result<void> add_text(options& to, const given& g) {
    (to.*member).emplace_back(g.value);
    return {};
}
template <auto member, int smallest>
result<void> set_count(options& to, const given& g) {
    const auto count = read_count(g, smallest);
    if (!count)
        return count.error();
    to.*member = *count;
    return {};
}
/// For a choice whose values are numbered as its words are.
template <auto member, class Choice>
result<void> set_word(options& to, const given& g, std::initializer_list<std::string_view> words) {
    const auto word = read_word(g, words);
    if (!word)
        return word.error();
    to.*member = static_cast<Choice>(*word);
    return {};
}

inline result<void> set_format(options& to, const given& g) {
    return set_word<&options::format, list_format>(to, g, {"text", "json"});
}
inline result<void> set_accel(options& to, const given& g) {
    return set_word<&options::accel, accel_wish>(to, g, {"auto", "kvm", "tcg", "nested"});
}
inline result<void> set_color(options& to, const given& g) {
    return set_word<&options::color, color_wish>(to, g, {"auto", "always", "never"});
}
inline result<void> set_no_color(options& to, const given&) {
    to.color = color_wish::never;
    return {};
}

inline result<void> set_topology(options& to, const given& g) {
    to.topology = parse_topology(g.value);
    if (!to.topology)
        return g.complain("not a machine",
                          "write NUMA nodes, LLCs, cores per LLC and threads per core as in "
                          "1n2l4c1t, each at least 1, LLCs a multiple of the nodes, at most " +
                              std::to_string(max_vcpus) + " CPUs");
    return {};
}

inline result<void> set_jobs(options& to, const given& g) {
    to.jobs = parse_number<int>(g.value);
    if (g.value != "auto" && (!to.jobs || *to.jobs < 1))
        return g.complain("not a positive number", "give a number from 1 up, or auto");
    return {};
}

inline result<void> set_seed(options& to, const given& g) {
    const bool hex = g.value.starts_with("0x") || g.value.starts_with("0X");
    const auto seed = hex ? parse_number<std::uint64_t>(g.value.substr(2), 16)
                          : parse_number<std::uint64_t>(g.value);
    if (!seed)
        return g.complain("not a seed",
                          "give a number from 0 to 18446744073709551615, decimal or hexadecimal "
                          "after 0x");
    to.seed = *seed;
    to.seed_was_given = true;
    return {};
}

inline result<void> set_junit(options& to, const given& g) {
    if (g.value == "-")
        return g.complain("JUnit XML goes to a file only", "give a path");
    to.junit = std::string(g.value);
    return {};
}

inline result<void> set_no_mask(options& to, const given&) {
    to.internal.no_mask = true;
    return {};
}
inline result<void> set_link(options& to, const given& g) {
    const auto word = read_word(g, {"auto", "vhost-vsock", "vhost-device-vsock", "virtio-serial"});
    if (!word)
        return word.error();
    constexpr std::optional<link_kind> links[] = {std::nullopt, link_kind::vhost_vsock,
                                                  link_kind::vhost_device_vsock,
                                                  link_kind::virtio_serial};
    to.internal.link = links[*word];
    return {};
}
inline result<void> set_body(options& to, const given& g) {
    const auto fd = read_count(g, 0);
    if (!fd)
        return fd.error();
    to.internal.body_fd = *fd;
    return {};
}
inline result<void> add_fault(options& to, const given& g) {
    if (!to.internal.faults.add(g.value))
        return g.complain("there is no such fault", "");
    return {};
}
inline result<void> set_relay(options& to, const given&) {
    to.internal.relay = true;
    return {};
}
inline result<void> set_templates(options& to, const given&) {
    to.internal.templates = true;
    return {};
}
inline result<void> set_calibration(options& to, const given& g) {
    to.internal.calibration_ns = parse_number<std::uint64_t>(g.value);
    if (!to.internal.calibration_ns || *to.internal.calibration_ns == 0)
        return g.complain("not a positive number", "give nanoseconds");
    return {};
}

// ---- the table ----------------------------------------------------------------------------------

struct argument {
    std::string_view name;
    std::string_view value;        ///< what --help calls its value; empty: it takes none
    std::string_view help;         ///< lines for --help
    setter set = nullptr;          ///< null: parse.hpp knows it by its name
    bool repeatable = false;       ///< else the last one counts
    std::string_view letter = {};  ///< its short form
};

inline constexpr argument choosing[] = {
    {"--list", "", "print the names of the selected tests, one a line; boots nothing",
     set_flag<&options::list>},
    {"--format", "text|json",
     "with --list: names, or one JSON array with what is known of each test", set_format},
    {"--filter", "PATTERN", "only tests whose name matches; `*` and `?` as in a shell; repeatable",
     add_text<&options::filters>, true},
    {"--tag", "T", "only tests that carry the tag T; repeatable, any of them is enough",
     add_text<&options::tags>, true},
    {"--exclude", "PATTERN", "leave out tests whose name matches; repeatable",
     add_text<&options::excludes>, true},
};

inline constexpr argument machine_arguments[] = {
    {"--accel", "auto|kvm|tcg|nested",
     "hardware virtualization, emulation, or real KVM inside one emulated\n"
     "machine; auto takes kvm where it works, else tcg, and says so",
     set_accel},
    {"--kernel", "SPEC",
     "a kernel image, a directory, the name of a cached kernel, or `distro`;\n"
     "repeatable: every test runs on each",
     add_text<&options::kernels>, true},
    {"--topology", "2n4l2c2t",
     "run every selected test on this machine: NUMA nodes, LLCs in total,\n"
     "cores per LLC, threads per core",
     set_topology},
    {"--no-clone", "", "boot every test cold instead of cloning a booted machine",
     set_flag<&options::no_clone>},
};

inline constexpr argument amounts[] = {
    {"--jobs", "N|auto",
     "tests at a time; auto, the default: what the host's CPUs and memory\n"
     "carry, beside other ktstr programs",
     set_jobs},
    {"--repeat", "N", "run each selected test N times; the worst verdict counts",
     set_count<&options::repeat, 1>},
    {"--until-fail", "", "repeat each test until it fails, at most --repeat times if that is given",
     set_flag<&options::until_fail>},
    {"--retries", "N", "run a test that did not pass up to N times more; a pass then is `flaky`",
     set_count<&options::retries, 0>},
    {"--seed", "N",
     "seed of every random choice, decimal or 0x hexadecimal; printed in every\n"
     "run, so that it can be given again",
     set_seed},
};

inline constexpr argument outputs[] = {
    {"--junit", "FILE", "JUnit XML, written when the run ends", set_junit},
    {"--json", "FILE", "one JSON object a line, as it happens; `-` is standard output",
     set_text<&options::json>},
    {"--tap", "", "TAP version 14 on standard output", set_flag<&options::tap>},
    {"--artifacts", "DIR", "where the files of a failed test go", set_text<&options::artifacts>},
    {"--keep", "", "keep the files of every test", set_flag<&options::keep>},
    {"--verbose", "", "also show stages and the output of every test as it comes",
     set_flag<&options::verbose>},
    {"--quiet", "", "only failures and the last line", set_flag<&options::quiet>},
    {"--color", "auto|always|never", "", set_color},
};

inline constexpr argument actions[] = {
    {"--dry-run", "", "print the exact QEMU command line of each selected test",
     set_flag<&options::dry_run>},
    {"--shell", "", "boot the selected test's machine and give a shell in it",
     set_flag<&options::shell>},
    {"--doctor", "",
     "what this host can do, what it lacks, which tests would be skipped and\n"
     "why, and the command that mends it",
     set_flag<&options::doctor>},
    {"--help", "", "this text", nullptr, false, "-h"},
    {"--version", "", "the version"},
};

/// For ktstr itself and its own test suite.
inline constexpr argument internals[] = {
    {"--internal-no-mask", "", "", set_no_mask},
    {"--internal-link", "KIND", "", set_link},
    {"--internal-body", "FD", "", set_body},
    {"--internal-fault", "NAME", "", add_fault, true},
    {"--internal-relay", "", "", set_relay},
    {"--internal-templates", "", "", set_templates},
    {"--internal-calibration", "NS", "", set_calibration},
};

struct argument_group {
    std::string_view title;  ///< empty: hidden
    std::span<const argument> arguments;
};

inline constexpr argument_group argument_groups[] = {
    {"Which tests", choosing},
    {"On which machine", machine_arguments},
    {"How often, how many at once", amounts},
    {"What comes out", outputs},
    {"Instead of running", actions},
    {"", internals},
};

struct variable {
    std::string_view name;
    std::string_view as = {};  ///< the argument that wins over it and says how it is read
    std::string_view help = {};
    setter set = nullptr;  ///< null: read elsewhere, by parse.hpp or cache_root()
};

inline constexpr variable known_variables[] = {
    {"KTSTR_KERNEL", "--kernel"},
    {"KTSTR_ACCEL", "--accel"},
    {"KTSTR_JOBS", "--jobs"},
    {"KTSTR_ARTIFACTS", "--artifacts"},
    {"KTSTR_CACHE_DIR", "",
     "kernels and machines are cached here (default: $XDG_CACHE_HOME/ktstr,\n"
     "else ~/.cache/ktstr)"},
    {"KTSTR_CPU_CAP", "", "use at most this many of the host's CPUs at a time",
     set_count<&options::cpu_cap, 1>},
    {"KTSTR_LOCK_DIR", "",
     "where ktstr programs of this host agree on who uses which CPU\n"
     "(default: /tmp); a local directory",
     set_text<&options::lock_dir>},
    {"NO_COLOR", "", "no colour, unless --color says otherwise", set_no_color},
    {"TEST_TOTAL_SHARDS, TEST_SHARD_INDEX, TEST_SHARD_STATUS_FILE", "",
     "run one part of the selection, as Bazel asks"},
    {"GTEST_TOTAL_SHARDS, GTEST_SHARD_INDEX, GTEST_SHARD_STATUS_FILE", "",
     "the same, as GoogleTest runners ask"},
};

[[nodiscard]] inline const argument* find_argument(std::string_view name) {
    for (const auto& group : argument_groups)
        for (const auto& a : group.arguments)
            if (a.name == name || (!a.letter.empty() && a.letter == name))
                return &a;
    return nullptr;
}

}  // namespace ktstr::host::detail
