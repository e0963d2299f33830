// SPDX-License-Identifier: MIT
// One cell run for a program with its own main(): the same run as from a command line, with a listener in
// place of reports and an answer in place of an exit code. The process around it belongs to somebody
// else, so it gets its signals back, and no exception. Host side.
#pragma once

#include <ktstr/embed.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/parse.hpp>
#include <ktstr/host/plan/select.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/program/program.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/run/cell_listener.hpp>
#include <ktstr/host/run/host_shares.hpp>
#include <ktstr/host/run/private_directory.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/setup/scheduler_variables.hpp>
#include <ktstr/test/registry.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

namespace ktstr::host {

/// Whether ktstr has started this process, and not to be what the program is for a person.
[[nodiscard]] inline bool is_started_by_ktstr(int argc, const char* const* argv) {
    return std::any_of(argv, argv + argc, [](std::string_view word) {
        return word == "--internal-body" || word == "--internal-relay" ||
               word == "--internal-templates";
    });
}

[[nodiscard]] inline cell_result not_run(std::string_view name, cell_ending ending,
                                         const error& why) {
    cell_result result{.name = std::string(name), .ending = ending};
    result.message = result.text = why.message();
    return result;
}

namespace detail {

/// The options of cells that somebody else chooses and reports.
[[nodiscard]] inline result<options> embedded_options(const run_options& how,
                                                      const environment& variables,
                                                      const guest_roles& roles) {
    std::vector<std::string> words{program_invocation_short_name};
    words.insert(words.end(), how.arguments.begin(), how.arguments.end());
    auto parsed = parse_options(words, variables);
    if (const auto* leave = std::get_if<cli_exit>(&parsed)) {
        std::string_view why = leave->err;
        if (why.starts_with("ktstr: "))
            why.remove_prefix(7);
        return plain_error("use", "these run_options",
                           why.empty()
                               ? "they ask for help or a version"
                               : std::string(why.substr(0, why.find_last_not_of('\n') + 1)));
    }
    auto wanted = std::get<options>(std::move(parsed));
    const std::pair<const char*, bool> others[] = {{"--list", wanted.list},
                                                   {"--dry-run", wanted.dry_run},
                                                   {"--shell", wanted.shell},
                                                   {"--doctor", wanted.doctor},
                                                   {"--filter", !wanted.filters.empty()},
                                                   {"--tag", !wanted.tags.empty()},
                                                   {"--exclude", !wanted.excludes.empty()},
                                                   {"--json", wanted.json.has_value()},
                                                   {"--junit", wanted.junit.has_value()},
                                                   {"--tap", wanted.tap},
                                                   {"--until-fail", wanted.until_fail}};
    for (const auto& [argument, is_there] : others)
        if (is_there)
            return plain_error("use", std::string(argument) + " in run_options",
                               "the program that runs the cells chooses and reports them",
                               "leave it out, or call ktstr::run()");
    wanted.part.reset();
    wanted.internal.agent_id = roles.agent_identity;
    return wanted;
}

[[nodiscard]] inline result<cell_list> embedded_cells(const options& wanted) {
    const auto registered = registered_tests();
    const std::span<const test_case* const> all(registered.begin(), registered.size());
    if (auto distinct = require_distinct_names(all); !distinct)
        return std::move(distinct).error();
    return all_cells(all, wanted);
}

/// What the process around a run does with signals: put back when the run is over.
class kept_signal_actions {
public:
    kept_signal_actions() {
        for (std::size_t i = 0; i < std::size(signals); ++i)
            ::sigaction(signals[i], nullptr, &actions_[i]);
    }
    kept_signal_actions(const kept_signal_actions&) = delete;
    ~kept_signal_actions() {
        for (std::size_t i = 0; i < std::size(signals); ++i)
            ::sigaction(signals[i], &actions_[i], nullptr);
    }

private:
    static constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct sigaction actions_[std::size(signals)];
};

/// One cell at a time: a thread waits for its turn. False in a process that was forked while another
/// thread had it, whose turn never comes: that thread is not there, and what it was about is half done.
class turn {
public:
    turn() {
        const pid_t us = ::getpid();
        for (pid_t who = 0; !holder().compare_exchange_strong(who, us); who = 0) {
            if (who != us)
                return;
            holder().wait(who);
        }
        has_it_ = true;
    }
    turn(const turn&) = delete;
    ~turn() {
        if (!has_it_)
            return;
        holder() = 0;
        holder().notify_one();
    }
    explicit operator bool() const noexcept { return has_it_; }

private:
    static std::atomic<pid_t>& holder() {
        static constinit std::atomic<pid_t> process{0};
        return process;
    }
    bool has_it_ = false;
};

/// What the calls with the same options share: the options with their seed, and the host.
struct embedded_host {
    std::vector<std::string> of;  ///< the arguments, and the variables that count
    options wanted;
    cell_list cells;
    std::optional<run_setup> setup;
    bool has_machines = false;  ///< whether the setup was made for cells with a machine

    [[nodiscard]] result<void> look(const cell& one) {
        // What was built since the last call is what the next one is about.
        if (setup) {
            setup->host.schedulers->drop_replaced();
            for (auto& kernel : setup->kernels)
                if (kernel_replaced(kernel))
                    kernel = {};
        }
        if (setup && (has_machines || !one.has_machine())) {
            if (!one.has_machine())
                return {};
            return get_kernels(*setup, wanted, {one.kernel}, say_progress);
        }
        auto made = prepare_run(wanted, kernels_of({one}), say_progress);
        if (!made)
            return std::move(made).error();
        setup = std::move(*made);
        has_machines = one.has_machine();
        for (const auto& note : setup->host.notes)
            say_progress(note);
        return {};
    }
};

[[nodiscard]] inline std::vector<std::string> embedded_key(const run_options& how,
                                                           const environment& variables) {
    auto key = how.arguments;
    for (auto& text : variables.all())
        if (text.starts_with("KTSTR_") || text.starts_with("PATH=") || text.starts_with("HOME=") ||
            text.starts_with("XDG_"))
            key.push_back(std::move(text));
    // What paths that are not absolute mean.
    std::error_code nowhere;
    key.push_back("in " + std::filesystem::current_path(nowhere).string());
    return key;
}

/// An error is "could not be done".
[[nodiscard]] inline result<void> run_one(embedded_host& host, const cell_list& one,
                                          std::unique_ptr<reporter> listener) {
    const stop_signal stop;
    // Of this call alone: a process that its owner forks has nothing of it.
    auto directory = private_directory::create();
    if (!directory)
        return std::move(directory).error();
    if (auto looked = host.look(one.front()); !looked)
        return looked;
    fan_out events;
    events.add(std::move(listener));
    auto shares = open_shares(host.wanted, host.setup->host, stop.fd(), events);
    if (!shares)
        return std::move(shares).error();
    (void)run_prepared(host.wanted, *host.setup, one, events, **shares, directory->path(),
                       stop.fd());
    return {};
}

[[nodiscard]] inline cell_result run_embedded_locked(std::string_view name, const run_options& how,
                                                     const guest_roles& roles) {
    static std::optional<embedded_host> known;
    const auto variables = environment::of_process();
    auto key = embedded_key(how, variables);
    if (!known || known->of != key) {
        known.reset();
        auto wanted = embedded_options(how, variables, roles);
        if (!wanted)
            return not_run(name, cell_ending::misused, wanted.error());
        auto cells = embedded_cells(*wanted);
        if (!cells)
            return not_run(name, cell_ending::misused, cells.error());
        const auto registered = registered_tests();
        if (auto settled =
                settle_scheduler_variables({registered.begin(), registered.size()}, *wanted);
            !settled)
            return not_run(name, cell_ending::misused, settled.error());
        known = embedded_host{.of = std::move(key),
                              .wanted = std::move(*wanted),
                              .cells = std::move(*cells),
                              .setup = {}};
    }
    const auto found = std::find_if(known->cells.begin(), known->cells.end(),
                                    [&](const cell& one) { return one.name == name; });
    if (found == known->cells.end())
        return not_run(name, cell_ending::misused,
                       plain_error("run", std::string(name), "no cell has exactly this name",
                                   "see list_cells() for what there is"));
    const cell_list one{*found};

    heard_of_cell heard{.result = {.name = found->name}};
    auto& result = heard.result;
    if (known->wanted.accel == accel_wish::nested) {
        if (run_nested(known->wanted, variables, one, listen_to(heard)) == exit_run_impossible &&
            !heard.end)
            result.message = "cannot run " + result.name +
                             ": the nested run could not be made, standard error says why";
    } else if (auto done = run_one(*known, one, listen_to(heard)); !done) {
        result.message = done.error().message();
    }
    // KVM that died was believed once too often.
    if (result.verdict && known->setup && result.accel == to_text(accelerator::tcg))
        known->setup->host.accel = accelerator::tcg;
    if (stop_signal::received() != 0 && !result.verdict) {
        result.ending = cell_ending::stopped;
        result.message = "interrupted by signal " + std::to_string(stop_signal::received());
    } else if (!result.verdict || (heard.end && heard.end->exit_code == exit_run_impossible)) {
        // A verdict that an impossible run came to says nothing of the test.
        result.ending = cell_ending::impossible;
        result.verdict.reset();
        if (heard.end && heard.end->aborted && result.message.empty())
            result.message = *heard.end->aborted;
    } else {
        result.ending = cell_ending::judged;
    }
    if (result.text.empty())
        result.text = result.message;
    return std::move(result);
}

}  // namespace detail

[[nodiscard]] inline cell_result run_embedded(std::string_view name, const run_options& how,
                                              const guest_roles& roles) {
    const detail::turn mine;
    if (!mine)
        return not_run(name, cell_ending::misused,
                       plain_error("run", std::string(name),
                                   "this process was forked while another thread ran a cell",
                                   "fork between cells, or execute a program that runs it"));
    cell_result result;
    stop_signal::forget();
    try {
        const detail::kept_signal_actions kept;
        result = detail::run_embedded_locked(name, how, roles);
    } catch (const std::exception& e) {
        result =
            not_run(name, cell_ending::impossible, plain_error("run", std::string(name), e.what()));
    }
    // Nothing is left now that a signal could leave behind, and it was meant for the whole process, also
    // where it came too late to stop the cell.
    if (const int signal = stop_signal::received(); signal != 0)
        ::raise(signal);
    return result;
}

[[nodiscard]] inline result<std::vector<cell_info>> list_embedded(const run_options& how,
                                                                  const guest_roles& roles) {
    auto wanted = detail::embedded_options(how, environment::of_process(), roles);
    if (!wanted)
        return std::move(wanted).error();
    auto cells = detail::embedded_cells(*wanted);
    if (!cells)
        return std::move(cells).error();
    std::vector<cell_info> known;
    known.reserve(cells->size());
    for (const cell& one : *cells) {
        cell_info info{.name = one.name,
                       .test = std::string(one.test->name),
                       .file = std::string(one.test->file),
                       .line = one.test->line,
                       .host_only = one.spec().host_only,
                       .timeout = one.spec().body_limit()};
        for (const auto tag : one.spec().tags)
            info.tags.emplace_back(tag);
        known.push_back(std::move(info));
    }
    return known;
}

}  // namespace ktstr::host
