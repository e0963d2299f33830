// SPDX-License-Identifier: MIT
// Arguments and environment in, options or an exit out. Each complaint is one line that names the
// argument or variable, the bad value and what would be accepted. Touches no file and starts
// nothing. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cli/arguments.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/help.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/version.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <sys/random.h>

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

/// Edits that turn one word into the other.
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            const std::size_t other = std::min(row[j], row[j - 1]) + 1;
            diagonal = std::exchange(row[j], std::min(replaced, other));
        }
    }
    return row[b.size()];
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
        if (last("--help") != nullptr)
            return cli_exit{0, help_text(shown(result_.program)), {}};
        if (last("--version") != nullptr)
            return cli_exit{0, "ktstr " + std::string(ktstr::version) + "\n", {}};
        for (auto step : {&command_line::refuse_unknown, &command_line::read_variables,
                          &command_line::read_arguments, &command_line::refuse_contradictions,
                          &command_line::read_sharding})
            if (auto done = (this->*step)(); !done)
                return usage_exit(done.error());
        // 32 bits are enough to differ, short enough to retype, and exact in every JSON reader.
        if (std::uint32_t seed = 0; !result_.seed_was_given) {
            if (::getrandom(&seed, sizeof seed, 0) != sizeof seed)
                return usage_exit(system_error("choose", "a seed", "give --seed"));
            result_.seed = seed;
        }
        return std::move(result_);
    }

private:
    struct occurrence {
        const argument* of;
        std::string_view value;
    };

    /// Sorts the words into occurrences_ and the first one that belongs to none.
    result<void> split() {
        bool only_words = false;
        for (std::size_t i = 1; i < words_.size(); ++i) {
            const std::string_view word = words_[i];
            const auto equals = word.find('=');
            const auto* a = only_words ? nullptr : known(word);
            if (word == "--" && !only_words) {
                only_words = true;
            } else if (a == nullptr) {
                if (!unknown_)
                    unknown_ = word;
            } else if (a->value.empty()) {
                if (equals != std::string_view::npos)
                    return given{a->name, word.substr(equals + 1)}.complain(
                        "it takes no value", "give " + std::string(a->name) + " alone");
                occurrences_.push_back({a, {}});
            } else {
                std::string_view value;
                if (equals != std::string_view::npos)
                    value = word.substr(equals + 1);
                else if (++i < words_.size() && words_[i] != "--" && known(words_[i]) == nullptr)
                    value = words_[i];
                if (value.empty())
                    return plain_error("use", std::string(a->name), "its value is missing",
                                       "see --help");
                occurrences_.push_back({a, value});
            }
        }
        return {};
    }

    [[nodiscard]] static const argument* known(std::string_view word) {
        return find_argument(word.substr(0, word.find('=')));
    }

    result<void> refuse_unknown() {
        if (!unknown_)
            return {};
        const auto word = *unknown_;
        if (word.empty() || word.front() != '-' || word.find_first_not_of('-') == word.npos)
            return plain_error("use", shown(word), "arguments without a name are not taken",
                               "to select tests by name give --filter " + shown(word));
        // No name is longer, and this takes the square of its length.
        const auto name = word.substr(0, std::min<std::size_t>(word.find('='), 40));
        std::string hint = "see --help";
        std::size_t best = 4;
        for (const auto& group : argument_groups)
            for (const auto& a : group.arguments)
                if (const auto d = edit_distance(name, a.name); !group.title.empty() && d < best) {
                    best = d;
                    hint = "did you mean " + std::string(a.name) + "?";
                }
        return plain_error("use", shown(word), "no such argument", hint);
    }

    result<void> read_variables() {
        result_.scheduler_variables = variables_.beginning_with("KTSTR_SCHEDULER_");
        for (const auto& v : detail::known_variables) {
            const auto* a = v.as.empty() ? nullptr : find_argument(v.as);
            const auto set = a != nullptr ? a->set : v.set;
            if (set == nullptr || (a != nullptr && last(v.as) != nullptr))
                continue;
            if (const auto text = variables_.get(v.name))
                if (auto done = set(result_, {v.name, *text, true}); !done)
                    return done;
        }
        return {};
    }

    /// The last one given counts, so that a wrapper's defaults can be overridden by appending.
    result<void> read_arguments() {
        for (const auto& one : occurrences_)
            if (one.of->repeatable || &one == last(one.of->name))
                if (auto done = one.of->set(result_, {one.of->name, one.value}); !done)
                    return done;
        return {};
    }

    result<void> refuse_contradictions() {
        const auto& o = result_;
        std::string_view first;
        for (const auto& [name, wanted] :
             {std::pair{"--list", o.list}, std::pair{"--dry-run", o.dry_run},
              std::pair{"--shell", o.shell}, std::pair{"--doctor", o.doctor}}) {
            if (wanted && !first.empty())
                return exclusive(first, name);
            if (wanted)
                first = name;
        }
        if (const auto* format = last("--format"); format != nullptr && !o.list)
            return given{"--format", format->value}.complain("there is no list to format",
                                                             "give --list as well");
        if (o.accel == accel_wish::nested && (o.shell || o.dry_run))
            return plain_error(
                "use", std::string(o.shell ? "--shell" : "--dry-run") + " with nested",
                "it is for a machine of this host, and those of a nested run are in another one",
                "add --accel tcg");
        if (o.tap && o.json == "-")
            return exclusive("--tap", "--json -", "both want standard output");
        if (o.junit && o.junit == o.json)
            return exclusive("--junit", "--json " + shown(*o.json), "both want the same file");
        if (o.verbose && o.quiet)
            return exclusive("--quiet", "--verbose");
        if (o.internal.body_fd && o.filters.size() != 1)
            return given{"--internal-body", std::to_string(*o.internal.body_fd)}.complain(
                "a body process runs one test", "give one --filter NAME");
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
                return given{index_name, *index_text, true}.complain(
                    "there is no number of shards", "set " + total_name + " as well");
            if (!index_text)
                return given{total_name, *total_text, true}.complain(
                    "which shard is not said", "set " + index_name + " as well");
            const auto total = read_count({total_name, *total_text, true}, 1);
            if (!total)
                return total.error();
            const auto index = parse_number<int>(*index_text);
            if (!index || *index < 0 || *index >= *total)
                return given{index_name, *index_text, true}.complain(
                    "no such shard", "give a number from 0 to " + std::to_string(*total - 1) +
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

    [[nodiscard]] const occurrence* last(std::string_view name) const {
        for (auto at = occurrences_.size(); at > 0; --at)
            if (occurrences_[at - 1].of->name == name)
                return &occurrences_[at - 1];
        return nullptr;
    }

    const std::vector<std::string>& words_;
    const environment& variables_;
    std::vector<occurrence> occurrences_;
    std::optional<std::string_view> unknown_;
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
