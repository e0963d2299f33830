// SPDX-License-Identifier: MIT
// What a run stands on: the host's facts and its kernels. What a cell needs of them, and why it can't
// have it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/initramfs/initramfs.hpp>
#include <ktstr/host/reserve/cpu_plan.hpp>
#include <ktstr/host/setup/host_facts.hpp>
#include <ktstr/host/setup/kernel_setup.hpp>
#include <ktstr/host/setup/scheduler_program.hpp>
#include <ktstr/linux/find_program.hpp>
#include <ktstr/linux/kernel_release.hpp>
#include <ktstr/wire/boot.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

namespace ktstr::host {

/// Of those that --kernel names, in their order. A kernel that no cell needs is not looked for.
struct run_setup {
    host_facts host;
    std::vector<kernel_setup> kernels;

    /// That of a cell with a machine.
    [[nodiscard]] const kernel_setup& kernel_of(const cell& one) const {
        return kernels[one.kernel];
    }
    /// In words, for the report of a run.
    [[nodiscard]] std::string releases() const {
        std::string all;
        for (const auto& one : kernels)
            if (!one.kernel.release.empty() && all.find(one.kernel.release) == std::string::npos)
                all += (all.empty() ? "" : ", ") + one.kernel.release;
        return all;
    }
};

/// What --kernel says, or what is taken without it.
[[nodiscard]] inline std::vector<std::string> kernel_specs(const options& wanted) {
    return wanted.kernels.empty() ? std::vector<std::string>{"distro"} : wanted.kernels;
}

/// The kernels that cells with a machine need.
[[nodiscard]] inline std::set<std::size_t> kernels_of(const cell_list& cells) {
    std::set<std::size_t> needed;
    for (const cell& one : cells)
        if (one.has_machine())
            needed.insert(one.kernel);
    return needed;
}

/// Gets those kernels that are not there yet.
[[nodiscard]] inline result<void> get_kernels(run_setup& setup, const options& wanted,
                                              const std::set<std::size_t>& needed,
                                              const progress_callback& progress) {
    const auto specs = kernel_specs(wanted);
    setup.kernels.resize(specs.size());
    for (const auto which : needed) {
        if (!setup.kernels[which].kernel.image.empty())
            continue;
        auto kernel = prepare_kernel(setup.host, wanted, specs[which], progress);
        if (!kernel)
            return std::move(kernel).error();
        setup.kernels[which] = std::move(*kernel);
    }
    return {};
}

/// Looks at the host and gets the kernels.
[[nodiscard]] inline result<run_setup> prepare_run(const options& wanted,
                                                   const std::set<std::size_t>& needed,
                                                   const progress_callback& progress) {
    run_setup setup;
    auto host = look_at_host(wanted, !needed.empty());
    if (!host)
        return std::move(host).error();
    setup.host = std::move(*host);
    setup.host.notes.insert(setup.host.notes.end(), wanted.notes.begin(), wanted.notes.end());
    if (auto got = get_kernels(setup, wanted, needed, progress); !got)
        return std::move(got).error();
    return setup;
}

/// The program of a scheduler, see find_scheduler_program().
[[nodiscard]] inline result<std::filesystem::path> find_scheduler(const host_facts& host,
                                                                  const ktstr::scheduler& wanted) {
    return find_scheduler_program(wanted, host.program.path().parent_path());
}

/// What every guest of a kernel finds: this program as its /init, modules, the kernel's configuration.
[[nodiscard]] inline initramfs_input base_files(const host_facts& host, const kernel& its,
                                                const std::vector<module_file>& modules) {
    initramfs_input input;
    input.init = host.program;
    input.modules = modules;
    input.kernel_config = its.config;
    input.kernel_release = its.release;
    return input;
}

/// What the guest of a cell finds: that, and the cell's schedulers with their files.
[[nodiscard]] inline result<initramfs_input> guest_files(const host_facts& host, const kernel& its,
                                                         const std::vector<module_file>& modules,
                                                         const cell& one) {
    auto input = base_files(host, its, modules);
    const auto add = [&](const scheduler& its_own, const std::string& place) -> result<void> {
        if (its_own.has_program()) {
            // Its variable goes by its name, so one program may be two.
            auto opened =
                host.schedulers->get(std::string(its_own.name) + ' ' + std::string(its_own.binary),
                                     [&] { return find_scheduler(host, its_own); });
            if (!opened)
                return std::move(opened).error();
            input.programs.push_back(
                {.host_path = (*opened)->file->path(), .guest_path = place, .opened = *opened});
        }
        for (const auto& file : its_own.files) {
            auto planted = file_of_scheduler(its_own, file, host.program.path().parent_path());
            if (!planted)
                return std::move(planted).error();
            input.files.push_back(std::move(*planted));
        }
        return {};
    };
    int position = 0;
    for (const scheduler* under : one.its_schedulers()) {
        const auto place = under == one.scheduler ? std::string(wire::scheduler_path)
                                                  : wire::staged_root + std::to_string(position++);
        if (auto added = add(*under, place); !added)
            return std::move(added).error();
    }
    return input;
}

/// The initramfs of a cell whose machine boots, with whatever more is asked for.
[[nodiscard]] inline result<initramfs> initramfs_for(const run_setup& setup, const cell& one,
                                                     const progress_callback& progress,
                                                     std::vector<guest_program> programs = {}) {
    auto input = guest_files(setup.host, setup.kernel_of(one).kernel,
                             setup.kernel_of(one).link_modules, one);
    if (!input)
        return std::move(input).error();
    for (auto& program : programs)
        input->programs.push_back(std::move(program));
    return build_initramfs(*input, progress);
}

/// Why this host can't run a cell as it wants to be run; nothing when it can. `accel`: which machines
/// have now.
[[nodiscard]] inline std::optional<std::string> unmet_requirement(const run_setup& setup,
                                                                  const cell& one,
                                                                  accelerator accel) {
    if (!one.has_machine())
        return std::nullopt;
    const auto& spec = one.spec();
    const auto& host = setup.host;
    if (spec.performance_mode)
        if (auto lacking = dedicated_lacks(host.topology, one.topology, host.cpus.size()))
            return lacking;
    if ((spec.requires_kvm || spec.requires_steal) && accel == accelerator::tcg)
        return std::string("the test requires ") +
               (spec.requires_steal ? "steal time, which" : "KVM, and that") +
               (spec.requires_steal ? " emulation (tcg) does not have"
                                    : " is not emulation (tcg)") +
               (host.kvm.why_not.empty() ? std::string("; use --accel kvm or nested")
                                         : "; " + host.kvm.why_not);
    if (spec.cpu_budget && static_cast<std::size_t>(*spec.cpu_budget) > host.cpus.size())
        return "cpu_budget = " + std::to_string(*spec.cpu_budget) + ", and this run may use " +
               std::to_string(host.cpus.size()) + " host CPUs";
    const auto& its = setup.kernel_of(one);
    // One that nobody can tell from here is told by the guest.
    for (const scheduler* under : one.its_schedulers())
        if (release_is_at_least(its.kernel.release, under->min_kernel) == false)
            return "the scheduler " + std::string(under->name) + " needs a kernel from " +
                   std::string(under->min_kernel) + " on, and this is " + its.kernel.release;
    if (its.config) {
        auto need = kernel_need::base;
        if (one.scheduler->has_program())
            need = need | kernel_need::sched_ext;
        if (spec.requires_steal)
            need = need | kernel_need::steal;
        if (const auto missing = check_config(*its.config, need); !missing.empty())
            return "kernel " + its.kernel.release + " has " + missing.front().option + '=' +
                   missing.front().found + ": " + missing.front().why;
    }
    return std::nullopt;
}

}  // namespace ktstr::host
