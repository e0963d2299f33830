// SPDX-License-Identifier: MIT
// --accel nested: one emulated machine with AMD's virtualization, and in it this same program, QEMU,
// and the chosen tests under real KVM. Steal time and /dev/vhost-vsock become testable on a machine
// that has neither. What happens inside is told outside as if it had happened here. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/machine/boot_limit.hpp>
#include <ktstr/host/machine/machine_command.hpp>
#include <ktstr/host/nested/outer_machine.hpp>
#include <ktstr/host/nested/relayed_run.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/report/exit_status.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/run/host_shares.hpp>
#include <ktstr/host/run/private_directory.hpp>
#include <ktstr/host/run/report_list.hpp>
#include <ktstr/host/run/run_start.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/text/terminal.hpp>
#include <ktstr/linux/exit_text.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ktstr::host {

namespace detail {

/// The arguments of the run inside.
[[nodiscard]] inline std::vector<std::string> inner_arguments(const outer_machine& outer,
                                                              const options& wanted,
                                                              const cell_list& cells,
                                                              std::uint64_t calibration_ns) {
    std::vector<std::string> words{outer.program(),
                                   "--accel",
                                   "kvm",
                                   "--internal-relay",
                                   "--internal-calibration",
                                   std::to_string(calibration_ns),
                                   "--seed",
                                   std::to_string(wanted.seed),
                                   "--jobs",
                                   std::to_string(wanted.jobs.value_or(1)),
                                   "--artifacts",
                                   "/tmp/artifacts"};
    const auto add = [&words](auto... text) { (words.emplace_back(text), ...); };
    for (auto& directory : inner_kernels(wanted))
        add("--kernel", std::move(directory));
    for (const cell& one : cells)
        add("--filter", one.name);
    if (wanted.repeat)
        add("--repeat", std::to_string(*wanted.repeat));
    if (wanted.until_fail)
        add("--until-fail");
    if (wanted.retries > 0)
        add("--retries", std::to_string(wanted.retries));
    if (wanted.topology)
        add("--topology", std::string(to_text(*wanted.topology)));
    if (wanted.keep)
        add("--keep");
    if (wanted.verbose)
        add("--verbose");
    if (wanted.no_clone)
        add("--no-clone");
    if (wanted.internal.no_mask)
        add("--internal-no-mask");
    if (wanted.internal.link)
        add("--internal-link", std::string(to_text(*wanted.internal.link)));
    for (const auto& fault : wanted.internal.faults.words())
        add("--internal-fault", fault);
    return words;
}

}  // namespace detail

namespace detail {

/// How long a run inside may go without the end of an attempt: the longest of them, on the slowest way
/// there is. All of a run has an end then, as the attempts at its tests have a number. A machine inside is
/// slower than the one around it.
[[nodiscard]] inline std::chrono::milliseconds nested_patience(const cell_list& cells,
                                                               double dilation) {
    std::chrono::milliseconds longest{};
    for (const cell& one : cells) {
        std::chrono::milliseconds its = one.spec().body_limit() + std::chrono::minutes(1);
        its = std::chrono::ceil<std::chrono::milliseconds>(its * 4 * std::max(dilation, 1.0));
        // A template, a clone that does not wake, and a machine that boots.
        if (one.has_machine())
            its += 3 * boot_limit(accelerator::kvm, one.topology.total_cpus(), 3);
        longest = std::max(longest, its);
    }
    return longest;
}

/// Why a nested run is not what it says it is, or why tests were left out, if either is so.
[[nodiscard]] inline std::optional<std::string> why_ended(const result<int>& ended,
                                                          const relayed_run& inside,
                                                          const run_finished& finished) {
    // Also where nothing could be said about a test, as when KVM fails inside.
    const bool early = finished.finished() < finished.selected ||
                       (ended && WIFEXITED(*ended) && WEXITSTATUS(*ended) == exit_run_impossible);
    if (stop_signal::received() != 0)
        return "interrupted by signal " + std::to_string(stop_signal::received());
    if (!inside.fault().empty())
        return "the machine around the tests is not believed any more: it sent " + inside.fault();
    if (!ended)
        return ended.error().message();
    if (!early && inside.over() && WIFEXITED(*ended) && WEXITSTATUS(*ended) == finished.exit_code)
        return std::nullopt;
    if (!early)
        return "the run inside the machine contradicts its tests: it " +
               (inside.over() ? exit_text(*ended) : "did not say that it was over") +
               ", and they come to exit code " + std::to_string(finished.exit_code);
    auto why = inside.aborted().value_or(inside.words());
    if (why.empty())
        why = "it " + exit_text(*ended);
    return "the run inside the machine ended early: " +
           why.substr(0, why.find_last_not_of('\n') + 1);
}

}  // namespace detail

/// Runs the tests nested and reports them here: to `listener` alone where there is one.
[[nodiscard]] inline int run_nested(const options& wanted, const environment& variables,
                                    const cell_list& cells,
                                    std::unique_ptr<reporter> listener = nullptr) {
    const auto fail = [](const error& e) {
        std::fprintf(stderr, "ktstr: %s\n", printable(e.message()).c_str());
        return exit_run_impossible;
    };
    const stop_signal stop;
    auto directory = private_directory::create();
    if (!directory)
        return fail(directory.error());
    auto outside = wanted;
    outside.accel = accel_wish::tcg;
    const auto say = [](std::string_view line) {
        std::fprintf(stderr, "ktstr: %s\n", printable(line).c_str());
    };
    auto needed = kernels_of(cells);
    needed.insert(outer_kernel(cells));
    const auto setup = prepare_run(outside, needed, say);
    if (!setup)
        return fail(setup.error());
    const auto& host = setup->host;
    const auto& kernel = setup->kernels[outer_kernel(cells)];
    if (kernel.config)
        if (const auto missing =
                check_config(*kernel.config, kernel_need::nested | kernel_need::vsock);
            !missing.empty())
            return fail(plain_error("use kernel " + kernel.kernel.release + " for",
                                    "--accel nested",
                                    "it has " + missing.front().option + '=' +
                                        missing.front().found + ": " + missing.front().why,
                                    "use --kernel distro"));
    auto outer = plan_outer_machine(wanted, *setup, cells);
    if (!outer)
        return fail(outer.error());

    fan_out events;
    auto shares = open_shares(wanted, host, stop.fd(), events);
    if (!shares)
        return fail(shares.error());
    if (listener)
        events.add(std::move(listener));
    else if (auto opened = open_reports(events, wanted, variables); !opened)
        return fail(opened.error());
    const auto begun = std::chrono::steady_clock::now();
    auto started = start_of_run(wanted, *setup, cells.size(), begun);
    started.notes.insert(started.notes.begin(),
                         "nested: one emulated machine with " +
                             std::to_string(outer->machine.topology.total_cpus()) +
                             " CPUs, the tests under real KVM in it");
    events(started);
    events.start_ticking(tick_period(wanted));

    tally totals;
    relayed_run inside(wanted, cells, events, totals);
    // Ends the machine when the user does, and when it is no longer believed.
    const unique_fd stop_or_distrust(::epoll_create1(EPOLL_CLOEXEC));
    const unique_fd distrust(::eventfd(0, EFD_CLOEXEC));
    for (const int fd : {stop.fd(), distrust.get()}) {
        epoll_event readable{.events = EPOLLIN, .data = {}};
        if (::epoll_ctl(stop_or_distrust.get(), EPOLL_CTL_ADD, fd, &readable) != 0)
            return fail(system_error("watch", "a nested run"));
    }
    // The machine around the tests is one machine of this host's; inside they share it as they like.
    // Emulated SVM writes the word that other threads write interrupts into, and takes no lock:
    // interrupts of the outer machine got lost, and inner or outer machine hung. On one host CPU
    // the writes can't meet. docs/machines.md, "Nested runs".
    auto share =
        (*shares)->enter({.test = "nested", .cpus = 1, .memory_mib = outer->machine.memory_mib});
    if (!share)
        return fail(share.error());
    const std::vector<int> one_cpu = *share ? (**share).cpus() : std::vector{host.cpus.back()};
    std::string why_cold = kernel.why_cold;
    if (why_cold.empty())
        if (auto cloned = clone_outer_machine(*outer, wanted, host, kernel, directory->path(),
                                              one_cpu, stop.fd(), say);
            !cloned)
            why_cold = cloned.error().message();
    std::optional<machine_command> run;
    result<int> ended = 0;
    for (;;) {
        if (!outer->is_clone()) {
            if (!why_cold.empty() && why_cold != "--no-clone")
                say("the machine around the tests boots cold: " + why_cold);
            if (auto booting = boot_outer_machine(*outer, kernel); !booting)
                return fail(booting.error());
        }
        run.emplace(machine_request{.machine = outer->machine,
                                    .qemu = host.qemu.path,
                                    .links = host.links,
                                    .private_dir = directory->path(),
                                    .name = "nested",
                                    .process_cpus = one_cpu,
                                    .state = outer->state,
                                    .directory = outer->template_directory},
                    wire::run_command{
                        .argv = detail::inner_arguments(*outer, wanted, cells, host.calibration_ns),
                        .environment = outer->environment},
                    host.calibration_ns, stop_or_distrust.get());
        bool woke = false;
        ended = run->run(
            {.output =
                 [&](wire::stream stream, std::string_view bytes) {
                     if (stream == wire::stream::err)
                         return inside.take_words(bytes);
                     const auto ended_before = inside.attempts_ended();
                     inside.take(bytes);
                     if (!inside.fault().empty())
                         ::eventfd_write(distrust.get(), 1);
                     if (inside.attempts_ended() > ended_before)
                         run->progress();
                 },
             .started = [&woke] { woke = true; },
             .kernel_must_be_well = true,
             .patience =
                 [&cells](double dilation) { return detail::nested_patience(cells, dilation); }});
        if (ended || woke || !outer->is_clone() || stop_signal::received() != 0)
            break;
        // Nothing has run in it: another machine may.
        if (run->blames_template()) {
            const auto gone =
                cache(host.cache_root)
                    .set_aside(template_kind, outer->template_key, *outer->template_directory);
            why_cold =
                std::string("its template did not wake up and ") +
                (gone ? "is taken out of the cache: " : "can't be taken out of the cache: ") +
                ended.error().message();
        } else {
            why_cold = "its clone could not be started: " + ended.error().message();
        }
        outer->state.clear();
    }
    if (run->unwell() && stop_signal::received() == 0)
        inside.lose(ended.error().message());
    events.stop_ticking();
    if (host.program.replaced())
        say(rebuilt_meanwhile(host.program));
    auto finished = totals.finish(
        cells.size(), wanted.seed,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    finished.aborted = detail::why_ended(ended, inside, finished);
    // No better than "could not be done", whatever has been told so far.
    if (finished.aborted && !run->unwell() && finished.exit_code != 1)
        finished.exit_code = exit_run_impossible;
    events(finished);
    if (!ended) {
        const auto console = run->console_text();
        const auto shown = std::min<std::size_t>(console.size(), 4000);
        std::fputs(printable(std::string_view(console).substr(console.size() - shown)).c_str(),
                   stderr);
    }
    if (const auto problem = events.problem())
        return fail(*problem);
    return finished.exit_code;
}

}  // namespace ktstr::host
