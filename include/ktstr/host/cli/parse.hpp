// SPDX-License-Identifier: MIT
// Arguments and environment in, options or an exit out. CLI11 splits the command line; every value
// is judged here, so that each complaint is one line that names the argument or variable, the bad
// value and what would be accepted. Touches no file and starts nothing.
// Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/help.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/text.hpp>
#include <ktstr/topology/topology.hpp>
#include <ktstr/version.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ktstr::host {

/// The program is to end now, with this code and these texts.
struct cli_exit {
    int code = 0;
    std::string out;
    std::string err;
};

/// Exit code 5 with the error as its one line.
[[nodiscard]] inline cli_exit usage_exit(const error& e) {
    return {5, {}, "ktstr: " + e.message() + "\n"};
}

namespace detail {

struct argument {
    std::string_view name;
    bool takes_value = false;
    bool hidden = false;
};

inline constexpr argument arguments[] = {
    {"--list"},
    {"--format", true},
    {"--filter", true},
    {"--tag", true},
    {"--exclude", true},
    {"--accel", true},
    {"--kernel", true},
    {"--topology", true},
    {"--no-clone"},
    {"--jobs", true},
    {"--repeat", true},
    {"--until-fail"},
    {"--retries", true},
    {"--seed", true},
    {"--junit", true},
    {"--json", true},
    {"--tap"},
    {"--artifacts", true},
    {"--keep"},
    {"--verbose"},
    {"--quiet"},
    {"--color", true},
    {"--dry-run"},
    {"--shell"},
    {"--doctor"},
    {"--help"},
    {"--version"},
    {"--internal-no-mask", false, true},
    {"--internal-link", true, true},
    {"--internal-body", true, true},
    {"--internal-fault", true, true},
    {"--internal-relay", false, true},
    {"--internal-calibration", true, true},
};

[[nodiscard]] inline const argument* find_argument(std::string_view name) {
    const auto* found = std::find_if(std::begin(arguments), std::end(arguments),
                                     [&](const argument& a) { return a.name == name; });
    return found == std::end(arguments) ? nullptr : found;
}

/// Edits that turn one word into the other.
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
        }
    }
    return row[b.size()];
}

/// A value as a message shows it: one harmless line, quoted where its ends would not be seen.
[[nodiscard]] inline std::string shown(std::string_view value) {
    return shell_word(one_line(value, 120));
}

[[nodiscard]] inline error bad_argument(std::string_view name, std::string_view value,
                                        std::string reason, std::string hint) {
    return plain_error("use", std::string(name) + ' ' + shown(value), std::move(reason),
                       std::move(hint));
}

[[nodiscard]] inline error bad_variable(std::string_view name, std::string_view value,
                                        std::string reason, std::string hint) {
    return plain_error("use", std::string(name) + '=' + shown(value), std::move(reason),
                       std::move(hint));
}

template <class Number>
[[nodiscard]] std::optional<Number> parse_number(std::string_view text, int base = 10) {
    Number number{};
    const auto [end, failed] =
        std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (failed != std::errc{} || end != text.data() + text.size() || text.empty())
        return std::nullopt;
    return number;
}

/// A value that was given, and how the person who gave it would recognize it.
struct given {
    std::string_view name;
    std::string value;
    bool is_variable = false;

    [[nodiscard]] error complain(std::string reason, std::string hint) const {
        return is_variable ? bad_variable(name, value, std::move(reason), std::move(hint))
                           : bad_argument(name, value, std::move(reason), std::move(hint));
    }
};

[[nodiscard]] inline result<int> read_count(const given& g, int smallest) {
    const auto number = parse_number<int>(g.value);
    if (!number || *number < smallest)
        return g.complain(smallest == 0 ? "not a number from 0 up" : "not a positive number",
                          "give a whole number from " + std::to_string(smallest) + " to " +
                              std::to_string(std::numeric_limits<int>::max()));
    return *number;
}

template <class Value>
using word_table = std::vector<std::pair<std::string_view, Value>>;

template <class Value>
[[nodiscard]] result<Value> read_word(const given& g, const word_table<Value>& words) {
    std::string accepted;
    for (const auto& [word, value] : words) {
        if (word == g.value)
            return value;
        accepted += accepted.empty() ? "" : word == words.back().first ? " or " : ", ";
        accepted += word;
    }
    return g.complain("no such choice", "give " + accepted);
}

/// The parser proper: one object for one command line, so that the steps can share what they know.
class command_line {
public:
    command_line(const std::vector<std::string>& words, const environment& variables)
        : words_(words), variables_(variables) {}

    [[nodiscard]] std::variant<options, cli_exit> parse() {
        result_.program = words_.empty() ? "ktstr" : words_.front();
        if (auto done = split(); !done)
            return usage_exit(done.error());
        if (flag("--help"))
            return cli_exit{0, help(), {}};
        if (flag("--version"))
            return cli_exit{0, "ktstr " + std::string(ktstr::version) + "\n", {}};
        for (auto step :
             {&command_line::read_unknown, &command_line::read_actions, &command_line::read_machine,
              &command_line::read_amounts, &command_line::read_outputs,
              &command_line::read_internal, &command_line::read_sharding})
            if (auto done = (this->*step)(); !done)
                return usage_exit(done.error());
        return std::move(result_);
    }

private:
    /// Lets CLI11 sort the words into values_ and unknown_.
    result<void> split() {
        // CLI11 would take the word after `--name=` or a following `--other` as the value.
        for (std::size_t i = 1; i < words_.size() && words_[i] != "--"; ++i) {
            const std::string_view word = words_[i];
            const auto equals = word.find('=');
            const auto* a = find_argument(word.substr(0, equals));
            if (a == nullptr || !a->takes_value)
                continue;
            bool missing = equals != std::string_view::npos && equals + 1 == word.size();
            if (equals == std::string_view::npos) {
                ++i;
                missing = i == words_.size() || words_[i].empty() || words_[i] == "--" ||
                          find_argument(std::string_view(words_[i]).substr(
                              0, words_[i].find('='))) != nullptr;
            }
            if (missing)
                return plain_error("use", std::string(a->name), "its value is missing",
                                   "see --help");
        }

        CLI::App app;
        app.set_help_flag();
        app.allow_extras();
        std::map<std::string_view, CLI::Option*> known;
        for (const auto& a : arguments) {
            // The raw words are wanted: CLI11's conversions read `{}` and `[a,b]` as lists.
            const std::string name = a.name == "--help" ? "-h,--help" : std::string(a.name);
            auto* option =
                a.takes_value
                    ? app.add_option(name, CLI::callback_t([](const auto&) { return true; }))
                    : app.add_flag_callback(name, [] {})->disable_flag_override();
            option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
            known[a.name] = option;
        }
        try {
            // CLI11 wants the words last one first.
            std::vector<std::string> reversed;
            if (!words_.empty())
                reversed.assign(words_.rbegin(), words_.rend() - 1);
            app.parse(std::move(reversed));
        } catch (const CLI::ParseError&) {
            for (const auto& word : words_) {
                const auto equals = word.find('=');
                const auto* a = find_argument(std::string_view(word).substr(0, equals));
                if (a != nullptr && !a->takes_value && equals != std::string::npos)
                    return bad_argument(a->name, word.substr(equals + 1), "it takes no value",
                                        "give " + std::string(a->name) + " alone");
            }
            return plain_error("read", "the arguments", {}, "see --help");
        }
        for (const auto& [name, option] : known)
            if (option->count() > 0)
                values_[name] = option->results();
        unknown_ = app.remaining();
        return {};
    }

    [[nodiscard]] std::string help() const {
        std::string text(help_text);
        const std::string name = shown(result_.program);
        for (auto at = text.find("PROGRAM"); at != std::string::npos;
             at = text.find("PROGRAM", at + name.size()))
            text.replace(at, 7, name);
        return text;
    }

    result<void> read_unknown() {
        std::erase(unknown_, "--");
        if (unknown_.empty())
            return {};
        const std::string& word = unknown_.front();
        if (word.empty() || word.front() != '-' || word.find_first_not_of('-') == word.npos)
            return plain_error("use", shown(word), "arguments without a name are not taken",
                               "to select tests by name give --filter " + shown(word));
        const std::string name = word.substr(0, word.find('='));
        const argument* nearest = nullptr;
        std::size_t best = 4;
        for (const auto& a : arguments)
            if (const auto d = edit_distance(name, a.name); !a.hidden && d < best)
                best = d, nearest = &a;
        return plain_error(
            "use", shown(word), "no such argument",
            nearest != nullptr ? "did you mean " + std::string(nearest->name) + "?" : "see --help");
    }

    result<void> read_actions() {
        result_.list = flag("--list");
        result_.dry_run = flag("--dry-run");
        result_.shell = flag("--shell");
        result_.doctor = flag("--doctor");
        std::string_view first;
        for (std::string_view name : {"--list", "--dry-run", "--shell", "--doctor"}) {
            if (!flag(name))
                continue;
            if (!first.empty())
                return exclusive(first, name);
            first = name;
        }
        if (const auto g = argument_value("--format")) {
            auto format = read_word<list_format>(
                *g, {{"text", list_format::text}, {"json", list_format::json}});
            if (!format)
                return std::move(format).error();
            if (!result_.list)
                return g->complain("there is no list to format", "give --list as well");
            result_.format = *format;
        }
        result_.filters = all("--filter");
        result_.tags = all("--tag");
        result_.excludes = all("--exclude");
        return {};
    }

    result<void> read_machine() {
        if (const auto g = value("--accel", "KTSTR_ACCEL")) {
            auto accel = read_word<accel_wish>(*g, {{"auto", accel_wish::automatic},
                                                    {"kvm", accel_wish::kvm},
                                                    {"tcg", accel_wish::tcg},
                                                    {"nested", accel_wish::nested}});
            if (!accel)
                return std::move(accel).error();
            result_.accel = *accel;
            if (*accel == accel_wish::nested && (result_.shell || result_.dry_run))
                return plain_error(
                    "use", std::string(result_.shell ? "--shell" : "--dry-run") + " with nested",
                    "it is for a machine of this host, and those of a nested run are in another "
                    "one",
                    "add --accel tcg");
        }
        if (const auto g = value("--kernel", "KTSTR_KERNEL"))
            result_.kernel = g->value;
        if (const auto g = argument_value("--topology")) {
            const auto shape = parse_topology(g->value);
            if (!shape)
                return g->complain(
                    "not a machine",
                    "write NUMA nodes, LLCs, cores per LLC and threads per core as in 1n2l4c1t, "
                    "each at least 1, LLCs a multiple of the nodes, at most " +
                        std::to_string(max_vcpus) + " CPUs");
            result_.topology = *shape;
        }
        result_.no_clone = flag("--no-clone");
        if (const auto text = variables_.get("KTSTR_CACHE_DIR"))
            result_.cache_dir = *text;
        if (const auto text = variables_.get("KTSTR_LOCK_DIR"))
            result_.lock_dir = *text;
        return {};
    }

    result<void> read_amounts() {
        if (const auto g = value("--jobs", "KTSTR_JOBS"); g && g->value != "auto") {
            const auto jobs = parse_number<int>(g->value);
            if (!jobs || *jobs < 1)
                return g->complain("not a positive number", "give a number from 1 up, or auto");
            result_.jobs = *jobs;
        }
        if (const auto text = variables_.get("KTSTR_CPU_CAP")) {
            auto cap = read_count({"KTSTR_CPU_CAP", *text, true}, 1);
            if (!cap)
                return std::move(cap).error();
            result_.cpu_cap = *cap;
        }
        if (const auto g = argument_value("--repeat")) {
            auto repeat = read_count(*g, 1);
            if (!repeat)
                return std::move(repeat).error();
            result_.repeat = *repeat;
        }
        result_.until_fail = flag("--until-fail");
        if (const auto g = argument_value("--retries")) {
            auto retries = read_count(*g, 0);
            if (!retries)
                return std::move(retries).error();
            result_.retries = *retries;
        }
        if (const auto g = argument_value("--seed")) {
            const std::string_view text = g->value;
            const bool hex = text.starts_with("0x") || text.starts_with("0X");
            const auto seed = hex ? parse_number<std::uint64_t>(text.substr(2), 16)
                                  : parse_number<std::uint64_t>(text);
            if (!seed)
                return g->complain("not a seed",
                                   "give a number from 0 to 18446744073709551615, decimal or "
                                   "hexadecimal after 0x");
            result_.seed = *seed;
            result_.seed_was_given = true;
        } else {
            // 32 bits are enough to differ, short enough to retype, and exact in every JSON reader.
            result_.seed = std::random_device{}();
        }
        return {};
    }

    result<void> read_outputs() {
        if (const auto g = argument_value("--junit")) {
            if (g->value == "-")
                return g->complain("JUnit XML goes to a file only", "give a path");
            result_.junit = g->value;
        }
        if (const auto g = argument_value("--json"))
            result_.json = g->value;
        result_.tap = flag("--tap");
        if (result_.tap && result_.json == "-")
            return exclusive("--tap", "--json -", "both want standard output");
        if (result_.junit && result_.junit == result_.json)
            return exclusive("--junit", "--json " + shown(*result_.json),
                             "both want the same file");
        result_.keep = flag("--keep");
        if (const auto g = value("--artifacts", "KTSTR_ARTIFACTS"))
            result_.artifacts = g->value;
        result_.verbose = flag("--verbose");
        result_.quiet = flag("--quiet");
        if (result_.verbose && result_.quiet)
            return exclusive("--quiet", "--verbose");
        if (const auto g = argument_value("--color")) {
            auto color = read_word<color_wish>(*g, {{"auto", color_wish::automatic},
                                                    {"always", color_wish::always},
                                                    {"never", color_wish::never}});
            if (!color)
                return std::move(color).error();
            result_.color = *color;
        } else if (variables_.get("NO_COLOR")) {
            result_.color = color_wish::never;
        }
        return {};
    }

    result<void> read_internal() {
        auto& internal = result_.internal;
        internal.no_mask = flag("--internal-no-mask");
        internal.faults = all("--internal-fault");
        internal.relay = flag("--internal-relay");
        if (const auto g = argument_value("--internal-calibration")) {
            internal.calibration_ns = parse_number<std::uint64_t>(g->value);
            if (!internal.calibration_ns || *internal.calibration_ns == 0)
                return g->complain("not a positive number", "give nanoseconds");
        }
        if (const auto g = argument_value("--internal-link")) {
            using wish = std::optional<link_kind>;
            auto link = read_word<wish>(*g, {{"auto", wish()},
                                             {"vhost-vsock", link_kind::vhost_vsock},
                                             {"vhost-device-vsock", link_kind::vhost_device_vsock},
                                             {"virtio-serial", link_kind::virtio_serial}});
            if (!link)
                return std::move(link).error();
            internal.link = *link;
        }
        if (const auto g = argument_value("--internal-body")) {
            auto fd = read_count(*g, 0);
            if (!fd)
                return std::move(fd).error();
            if (result_.filters.size() != 1)
                return g->complain("a body process runs one test", "give one --filter NAME");
            internal.body_fd = *fd;
        }
        return {};
    }

    result<void> read_sharding() {
        // The body process inherits its runner's environment but was given its test already.
        if (result_.internal.body_fd)
            return {};
        for (const std::string prefix : {"TEST_", "GTEST_"}) {
            const std::string total_name = prefix + "TOTAL_SHARDS";
            const std::string index_name = prefix + "SHARD_INDEX";
            const auto total_text = variables_.get(total_name);
            const auto index_text = variables_.get(index_name);
            if (!total_text && !index_text)
                continue;
            if (!total_text)
                return bad_variable(index_name, *index_text, "there is no number of shards",
                                    "set " + total_name + " as well");
            if (!index_text)
                return bad_variable(total_name, *total_text, "which shard is not said",
                                    "set " + index_name + " as well");
            auto total = read_count({total_name, *total_text, true}, 1);
            if (!total)
                return std::move(total).error();
            const auto index = parse_number<int>(*index_text);
            if (!index || *index < 0 || *index >= *total)
                return bad_variable(index_name, *index_text, "no such shard",
                                    "give a number from 0 to " + std::to_string(*total - 1) +
                                        ", less than " + total_name);
            result_.part =
                shard{*index, *total, variables_.get(prefix + "SHARD_STATUS_FILE").value_or("")};
            return {};
        }
        return {};
    }

    static error exclusive(std::string_view a, std::string_view b,
                           std::string reason = "they exclude each other") {
        return plain_error("use", std::string(a) + " with " + std::string(b), std::move(reason),
                           "give one of them");
    }

    [[nodiscard]] bool flag(std::string_view name) const { return values_.contains(name); }

    [[nodiscard]] std::vector<std::string> all(std::string_view name) const {
        const auto found = values_.find(name);
        return found == values_.end() ? std::vector<std::string>{} : found->second;
    }

    /// The last one given counts, so that a wrapper's defaults can be overridden by appending.
    [[nodiscard]] std::optional<given> argument_value(std::string_view name) const {
        const auto found = values_.find(name);
        if (found == values_.end())
            return std::nullopt;
        return given{name, found->second.back()};
    }

    [[nodiscard]] std::optional<given> value(std::string_view name,
                                             std::string_view variable) const {
        if (auto g = argument_value(name))
            return g;
        if (auto text = variables_.get(variable))
            return given{variable, std::move(*text), true};
        return std::nullopt;
    }

    const std::vector<std::string>& words_;
    const environment& variables_;
    std::map<std::string_view, std::vector<std::string>> values_;
    std::vector<std::string> unknown_;
    options result_;
};

}  // namespace detail

/// Options, or how to end: help and version with 0 on `out`, bad usage with 5 and one line on
/// `err`. `words` begin with the program's name.
[[nodiscard]] inline std::variant<options, cli_exit> parse_options(
    const std::vector<std::string>& words, const environment& variables) {
    return detail::command_line(words, variables).parse();
}

[[nodiscard]] inline std::variant<options, cli_exit> parse_options(int argc,
                                                                   const char* const* argv,
                                                                   const environment& variables) {
    return parse_options(std::vector<std::string>(argv, argv + argc), variables);
}

}  // namespace ktstr::host
