// SPDX-License-Identifier: MIT
// --accel nested: one emulated machine with AMD's virtualization, and in it this same program, QEMU,
// and the chosen tests under real KVM. Steal time and /dev/vhost-vsock become testable on a machine
// that has neither. What happens inside is told outside as if it had happened here. Host side.
#pragma once

#include <ktstr/host/cli/environment.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/plan/exit_status.hpp>
#include <ktstr/host/plan/list.hpp>
#include <ktstr/host/plan/select.hpp>
#include <ktstr/host/report/open_reports.hpp>
#include <ktstr/host/report/tally.hpp>
#include <ktstr/host/report/text.hpp>
#include <ktstr/host/run/host_setup.hpp>
#include <ktstr/host/run/host_shares.hpp>
#include <ktstr/host/run/machine_command.hpp>
#include <ktstr/host/run/private_directory.hpp>
#include <ktstr/host/run/relayed_run.hpp>
#include <ktstr/host/run/run_start.hpp>
#include <ktstr/host/run/stop_signal.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
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

/// QEMU's own files for a direct kernel boot on q35. Those a version does not have are left out.
inline constexpr std::array<std::string_view, 5> qemu_firmware{
    "bios-256k.bin", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin", "linuxboot.bin"};

/// Where things lie in the outer machine.
inline constexpr std::string_view nested_qemu_path = "/usr/bin/qemu-system-x86_64";
inline constexpr std::string_view nested_kernel_dir = "/ktstr/kernel";

namespace detail {

/// The firmware files, from the directories that QEMU itself names.
[[nodiscard]] inline result<std::vector<guest_file>> find_firmware(
    const std::filesystem::path& qemu_path) {
    tool_command ask;
    ask.argv = {qemu_path.string(), "-L", "help"};
    auto said = run_tool(std::move(ask));
    if (!said)
        return std::move(said).error();
    std::vector<guest_file> files;
    for (const auto name : qemu_firmware) {
        std::string_view rest = said->out;
        while (!rest.empty()) {
            const auto end = rest.find('\n');
            const auto candidate = std::filesystem::path(rest.substr(0, end)) / name;
            rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
            if (::access(candidate.c_str(), R_OK) != 0)
                continue;
            files.push_back(
                {.guest_path = "/usr/share/qemu/" + std::string(name), .host_path = candidate});
            break;
        }
    }
    return files;
}

/// The kernel for the inner machines: the same as the outer one's, with the modules of its link and of
/// its clones, unpacked, because the outer machine has no tool to unpack them with.
[[nodiscard]] inline result<std::vector<guest_file>> pack_inner_kernel(
    const host::kernel& kernel, const std::optional<kernel_config>& config) {
    const std::string root(nested_kernel_dir);
    std::vector<guest_file> files;
    files.push_back(
        {.guest_path = root + (kernel.pvh ? "/vmlinux" : "/bzImage"), .host_path = kernel.image});
    if (!kernel.config.empty())
        files.push_back({.guest_path = root + "/config", .host_path = kernel.config});
    auto names = modules_of_link(config, link_kind::vhost_vsock);
    names.insert(names.end(), clone_modules.begin(), clone_modules.end());
    auto modules = modules_for(kernel, names);
    if (!modules)
        return std::move(modules).error();
    std::string depends, before;
    for (const auto& module : *modules) {
        auto content = read_module(module.path);
        if (!content)
            return std::move(content).error();
        files.push_back({.guest_path = root + "/modules/" + module.name + ".ko",
                         .content = std::move(*content)});
        depends += module.name + ".ko:" + before + '\n';
        before = ' ' + module.name + ".ko" + before;
    }
    files.push_back({.guest_path = root + "/modules/modules.dep", .content = depends});
    return files;
}

/// Where the libraries of the run inside lie: it has no cache of the loader's to look them up in.
[[nodiscard]] inline result<std::string> library_directories(const host_setup& setup) {
    const std::array programs{setup.own_program, setup.qemu.path};
    const auto closure = find_libraries(programs);
    if (!closure)
        return closure.error();
    std::set<std::string> seen;
    std::string list;
    for (const auto& library : closure->libraries)
        if (const auto directory = library.path.parent_path().string();
            seen.insert(directory).second)
            list += (list.empty() ? "" : ":") + directory;
    return list;
}

/// The arguments of the run inside.
[[nodiscard]] inline std::vector<std::string> inner_arguments(const options& wanted,
                                                              const test_list& tests,
                                                              std::uint64_t calibration_ns) {
    std::vector<std::string> words{"/init",
                                   "--accel",
                                   "kvm",
                                   "--kernel",
                                   std::string(nested_kernel_dir),
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
    for (const test_case* test : tests)
        add("--filter", std::string(test->name));
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

/// The machine around a nested run.
[[nodiscard]] inline result<machine> outer_machine(const options& wanted, const host_setup& setup,
                                                   const test_list& tests, initramfs& archive) {
    initramfs_input input;
    input.init_elf = setup.own_program;
    auto names = first_modules(setup.config);
    names.insert(names.end(), nested_amd_modules.begin(), nested_amd_modules.end());
    names.insert(names.end(), vsock_modules.begin(), vsock_modules.end());
    if (setup.link == link_kind::virtio_serial)
        names.insert(names.end(), virtio_serial_modules.begin(), virtio_serial_modules.end());
    auto modules = modules_for(setup.kernel, names);
    if (!modules)
        return std::move(modules).error();
    input.modules = std::move(*modules);
    input.programs.push_back(
        {.host_path = setup.qemu.path, .guest_path = std::string(nested_qemu_path)});
    std::set<std::string> schedulers;
    for (const test_case* test : tests)
        if (test->spec.scheduler != nullptr &&
            schedulers.emplace(test->spec.scheduler->binary).second) {
            auto binary = find_scheduler(setup, *test->spec.scheduler);
            if (!binary)
                return std::move(binary).error();
            // Beside /init, where the run inside looks first.
            input.programs.push_back(
                {.host_path = *binary, .guest_path = "/" + binary->filename().string()});
        }
    for (auto part :
         {find_firmware(setup.qemu.path), pack_inner_kernel(setup.kernel, setup.config)}) {
        if (!part)
            return std::move(part).error();
        for (auto& file : *part)
            input.files.push_back(std::move(file));
    }
    auto built = build_initramfs(input, {});
    if (!built)
        return std::move(built).error();
    archive = std::move(*built);

    int vcpus = 1, memory = 256;
    std::set<std::pair<std::string, int>> kinds;  // of machines: each has a template
    for (const test_case* test : tests) {
        const auto shape = machine_shape(test->spec, wanted.topology);
        if (test->spec.host_only)
            continue;
        vcpus = std::max(vcpus, shape.total_cpus());
        // An inner machine's initramfs is small beside the outer one's; its rule is what counts.
        const int its = memory_rule(shape.total_cpus(), test->spec.memory_mib, 64U << 20);
        memory = std::max(memory, its);
        kinds.emplace(to_text(shape), its);
    }
    int templates = 0;
    for (const auto& [shape, its] : kinds)
        templates += its;
    machine m;
    // More CPUs than any test has vCPUs, so that an unmasked machine is never short of them and a
    // masked one is short for that reason alone.
    m.topology = {
        .numa_nodes = 1, .llcs = 1, .cores = std::min(vcpus + 2, max_vcpus), .threads = 1};
    m.accel = accelerator::tcg;
    m.nested_virtualization = true;
    // The templates lie in a tmpfs, which takes half of memory at most.
    m.memory_mib = memory * wanted.jobs.value_or(1) + 2 * templates + 512 +
                   static_cast<int>(archive.size * 3 >> 20) + 64 * m.topology.total_cpus();
    m.kernel = setup.kernel.image;
    m.initrd = archive.path;
    m.link = setup.link;
    m.tsc_khz = host_tsc_khz();
    return m;
}

}  // namespace detail

namespace detail {

/// Why tests were left out, if some were.
[[nodiscard]] inline std::optional<std::string> why_ended(const result<int>& ended,
                                                          const relayed_run& inside, bool early) {
    if (stop_signal::received() != 0)
        return "interrupted by signal " + std::to_string(stop_signal::received());
    if (!inside.fault().empty())
        return "the machine around the tests is not believed any more: it sent " + inside.fault();
    if (!ended)
        return ended.error().message();
    if (!early)
        return std::nullopt;
    auto why = inside.aborted().value_or(inside.words());
    if (why.empty())
        why = WIFEXITED(*ended) ? "it exited with " + std::to_string(WEXITSTATUS(*ended))
                                : "signal " + std::to_string(WTERMSIG(*ended)) + " ended it";
    return "the run inside the machine ended early: " +
           why.substr(0, why.find_last_not_of('\n') + 1);
}

}  // namespace detail

/// Runs the tests nested and reports them here.
[[nodiscard]] inline int run_nested(const options& wanted, const environment& variables,
                                    const test_list& tests) {
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
    auto setup = prepare_host(outside, true, [](std::string_view line) {
        std::fprintf(stderr, "ktstr: %.*s\n", static_cast<int>(line.size()), line.data());
    });
    if (!setup)
        return fail(setup.error());
    if (setup->config)
        if (const auto missing =
                check_config(*setup->config, kernel_need::nested | kernel_need::vsock);
            !missing.empty())
            return fail(plain_error("use kernel " + setup->kernel.release + " for",
                                    "--accel nested",
                                    "it has " + missing.front().option + '=' +
                                        missing.front().found + ": " + missing.front().why,
                                    "use --kernel distro"));
    initramfs archive;
    auto m = detail::outer_machine(wanted, *setup, tests, archive);
    if (!m)
        return fail(m.error());
    auto libraries = detail::library_directories(*setup);
    if (!libraries)
        return fail(libraries.error());

    fan_out events;
    auto shares = open_shares(wanted, *setup, stop.fd(), events);
    if (!shares)
        return fail(shares.error());
    if (auto opened = open_reports(events, wanted, variables); !opened)
        return fail(opened.error());
    const auto begun = std::chrono::steady_clock::now();
    auto started = start_of_run(wanted, *setup, tests.size(), begun);
    started.notes.insert(started.notes.begin(), "nested: one emulated machine with " +
                                                    std::to_string(m->topology.total_cpus()) +
                                                    " CPUs, the tests under real KVM in it");
    events(started);
    events.start_ticking(tick_period(wanted));

    tally totals;
    relayed_run inside(wanted, tests, events, totals);
    // Ends the machine when the user does, and when it is no longer believed.
    const unique_fd stop_or_distrust(::epoll_create1(EPOLL_CLOEXEC));
    const unique_fd distrust(::eventfd(0, EFD_CLOEXEC));
    for (const int fd : {stop.fd(), distrust.get()}) {
        epoll_event readable{.events = EPOLLIN, .data = {}};
        if (::epoll_ctl(stop_or_distrust.get(), EPOLL_CTL_ADD, fd, &readable) != 0)
            return fail(system_error("watch", "a nested run"));
    }
    // The machine around the tests is one machine of this host's; inside they share it as they like.
    auto share = (*shares)->enter({.test = "nested",
                                   .cpus = static_cast<std::size_t>(m->topology.total_cpus()),
                                   .memory_mib = m->memory_mib});
    if (!share)
        return fail(share.error());
    machine_command run(
        {.machine = *m,
         .qemu = setup->qemu.path,
         .links = setup->links,
         .private_dir = directory->path(),
         .name = "nested",
         // Emulated SVM writes the word that other threads write interrupts into, and takes no lock:
         // interrupts of the outer machine got lost, and inner or outer machine hung. On one host CPU
         // the writes can't meet. docs/machines.md, "Nested runs".
         .process_cpus = {setup->cpus.back()}},
        {.argv = detail::inner_arguments(wanted, tests, setup->calibration_ns),
         .environment = {"PATH=/usr/bin:/bin", "HOME=/root", "TMPDIR=/tmp",
                         "KTSTR_CACHE_DIR=/tmp/cache", "LD_LIBRARY_PATH=" + *libraries}},
        setup->calibration_ns, stop_or_distrust.get());
    const auto ended = run.run({.output = [&](wire::stream stream, std::string_view bytes) {
        if (stream == wire::stream::err)
            return inside.take_words(bytes);
        inside.take(bytes);
        if (!inside.fault().empty())
            ::eventfd_write(distrust.get(), 1);
    }});
    events.stop_ticking();
    auto finished = totals.finish(
        tests.size(), wanted.seed,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    finished.aborted = detail::why_ended(ended, inside, finished.finished() < tests.size());
    events(finished);
    if (!ended) {
        const auto console = run.console();
        const auto shown = std::min<std::size_t>(console.size(), 4000);
        std::fputs(printable(std::string_view(console).substr(console.size() - shown)).c_str(),
                   stderr);
    }
    if (const auto problem = events.problem())
        return fail(*problem);
    return finished.exit_code;
}

}  // namespace ktstr::host
