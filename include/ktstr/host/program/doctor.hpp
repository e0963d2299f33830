// SPDX-License-Identifier: MIT
// --doctor: what this host can do, what it lacks, the command that mends each, and which of the
// selected tests would be skipped and why. Fetches nothing and boots nothing. Host side.
#pragma once

#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/kernel/kernel_config.hpp>
#include <ktstr/host/kernel/needs.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/report/exit_status.hpp>
#include <ktstr/host/reserve/host_memory.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/vm/accelerator.hpp>
#include <ktstr/host/vm/qemu_binary.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace ktstr::host {

/// One thing that was looked at.
struct finding {
    enum class state { good, limited, missing };
    state is = state::good;
    std::string subject;
    std::string fact;
    std::string mend;  ///< a command, or empty
};

/// The findings as text, and the exit code: 3 when no test could run at all.
struct examination {
    std::vector<finding> findings;
    bool can_run = true;

    void good(std::string subject, std::string fact) {
        findings.push_back({finding::state::good, std::move(subject), std::move(fact), {}});
    }
    void limited(std::string subject, std::string fact, std::string mend) {
        findings.push_back(
            {finding::state::limited, std::move(subject), std::move(fact), std::move(mend)});
    }
    void missing(std::string subject, std::string fact, std::string mend) {
        findings.push_back(
            {finding::state::missing, std::move(subject), std::move(fact), std::move(mend)});
        can_run = false;
    }
};

namespace detail {

/// `mark`: what tells this kernel's findings from another's.
inline void examine_kernel(const std::string& spec, const std::string& mark, kernel_setup& setup,
                           examination& seen) {
    const auto subject = "kernel" + mark;
    auto kernel = resolve_kernel({.spec = spec, .allow_fetch = false});
    if (!kernel)
        return seen.missing(subject, kernel.error().message(), "ktstr kernel fetch distro");
    setup.kernel = std::move(*kernel);
    std::string fact =
        setup.kernel.release + (setup.kernel.pvh ? ", starts without its decompressor" : "");
    if (setup.kernel.config.empty())
        return seen.limited(
            subject, fact + "; its configuration is unknown, so nothing is checked before boot",
            "put its .config beside it");
    auto config = kernel_config::read(setup.kernel.config);
    if (!config)
        return seen.limited(subject, config.error().message(), {});
    setup.config = std::move(*config);
    const auto lacks = [&](kernel_need need) { return check_config(*setup.config, need); };
    if (const auto base = lacks(native_needs); !base.empty())
        return seen.missing(subject,
                            fact + "; it has " + base.front().option + '=' + base.front().found +
                                ": " + base.front().why,
                            "ktstr kernel fetch distro");
    seen.good(subject, fact);
    const auto ability = [&](const std::string& name, kernel_need need) {
        if (const auto missing = lacks(need); missing.empty())
            seen.good(name, "the kernel has it");
        else
            seen.limited(name,
                         missing.front().option + '=' + missing.front().found + " in " +
                             setup.kernel.release + ": " + missing.front().why,
                         "ktstr kernel fetch distro");
    };
    ability("sched_ext" + mark, kernel_need::sched_ext);
    ability("guest vsock" + mark, kernel_need::vsock);
}

inline examination examine_host(const options& wanted, run_setup& run) {
    auto& setup = run.host;
    examination seen;
    look_at_cpus(setup, wanted);
    seen.good("CPUs", std::to_string(setup.cpus.size()) + " for this run");
    if (const auto memory = available_memory_mib())
        seen.good("memory", std::to_string(*memory) + " MiB available");
    else
        seen.limited("memory", "/proc/meminfo does not say how much is available", {});

    const auto root = cache_root();
    if (!root) {
        seen.missing("cache", root.error().message(), "set KTSTR_CACHE_DIR");
        return seen;
    }
    setup.cache_root = *root;
    std::error_code failed;
    auto existing = *root;
    while (!existing.empty() && !std::filesystem::exists(existing, failed) &&
           existing.has_relative_path())
        existing = existing.parent_path();
    const auto space = std::filesystem::space(existing, failed);
    const auto free_mib = failed ? 0 : space.available >> 20;
    if (free_mib < 300)
        seen.limited("cache", root->string() + ", only " + std::to_string(free_mib) + " MiB free",
                     "free some space, or set KTSTR_CACHE_DIR");
    else
        seen.good("cache", root->string() + ", " + std::to_string(free_mib) + " MiB free");

    if (auto found = find_qemu(*root)) {
        setup.qemu = *found;
        if (found->version < qemu_sound_emulation)
            seen.limited(
                "QEMU",
                found->version_text + " at " + found->path.string() +
                    "; its emulation can crash guest kernels with several vCPUs, 8.1 does not",
                newer_qemu_command());
        else
            seen.good("QEMU", found->version_text + " at " + found->path.string());
    } else {
        seen.missing("QEMU", found.error().message(),
                     "apt install " + std::string(machine_architecture.qemu_package));
    }
    setup.kvm = look_at_kvm();
    if (setup.kvm.usable)
        seen.good("KVM", std::string("hardware virtualization") + (setup.kvm.amd ? " (AMD)" : ""));
    else
        seen.limited("KVM", setup.kvm.why_not, "PROGRAM --accel nested has real KVM on any host");
    if (auto accel =
            choose_accelerator(wanted.accel == accel_wish::nested ? accel_wish::tcg : wanted.accel,
                               setup.kvm, *root, setup.notes)) {
        setup.accel = *accel;
        seen.good("accelerator", wanted.accel == accel_wish::nested
                                     ? "nested: kvm inside one emulated machine"
                                     : std::string(to_text(*accel)));
    } else {
        seen.missing("accelerator", accel.error().message(), "--accel auto");
    }
    setup.links = look_at_links(find_vsock_device(*root));
    if (setup.links.vhost_vsock)
        seen.good("vhost-vsock", "/dev/vhost-vsock opens");
    else
        seen.limited("vhost-vsock", setup.links.vhost_vsock_why_not, "modprobe vhost_vsock");
    if (!setup.links.vhost_device_vsock.empty())
        seen.good("vhost-device-vsock", setup.links.vhost_device_vsock.string());
    else
        seen.limited("vhost-device-vsock", "neither in PATH nor in the cache",
                     "ktstr package fetch vhost-device-vsock");
    seen.good("link",
              std::string(to_text(wanted.internal.link.value_or(choose_link(setup.links)))));
    const auto specs = kernel_specs(wanted);
    for (std::size_t i = 0; i < specs.size(); ++i)
        examine_kernel(specs[i], specs.size() > 1 ? ' ' + specs[i] : "", run.kernels[i], seen);
    return seen;
}

}  // namespace detail

[[nodiscard]] inline int run_doctor(const options& wanted, const cell_list& cells) {
    run_setup setup;
    setup.kernels.resize(kernel_specs(wanted).size());
    const auto seen = detail::examine_host(wanted, setup);
    for (const auto& f : seen.findings) {
        const char* mark = f.is == finding::state::good      ? "ok     "
                           : f.is == finding::state::limited ? "limited"
                                                             : "MISSING";
        std::printf("%s  %-19s %s\n", mark, f.subject.c_str(), f.fact.c_str());
        if (!f.mend.empty())
            std::printf("         %-19s -> %s\n", "", f.mend.c_str());
    }
    // Inside a nested run KVM is there, so what only that lacks here is no reason to skip.
    auto& inside = setup.host;
    if (wanted.accel == accel_wish::nested) {
        inside.accel = accelerator::kvm;
        inside.cpus.resize(std::max<std::size_t>(inside.cpus.size(), max_vcpus));
        inside.topology = {};
        for (int cpu = 0; cpu < max_vcpus; ++cpu)
            inside.topology.cpus.push_back({.cpu = cpu, .llc = cpu, .core = cpu});
    }
    std::size_t skipped = 0;
    for (const cell& one : cells) {
        const auto why = unmet_requirement(setup, one, inside.accel);
        if (!why)
            continue;
        if (skipped++ == 0)
            std::printf("\nTests that would be skipped:\n");
        std::printf("  %s: %s\n", one.name.c_str(), why->c_str());
    }
    if (skipped > 0)
        std::printf("%zu of %zu would be skipped.\n", skipped, cells.size());
    else if (!cells.empty())  // `ktstr doctor` has none
        std::printf("\nNo test of %zu would be skipped.\n", cells.size());
    if (std::fflush(stdout) != 0 || !seen.can_run)
        return exit_run_impossible;
    return 0;
}

}  // namespace ktstr::host
