// SPDX-License-Identifier: MIT
// What a run needs of this host, looked at once: QEMU, the accelerator, the kernel, the carriers of
// the link, and the initramfs of each kind of machine. A failure here is "the run itself could not
// be done" (exit 3), told before any test starts. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/initramfs/initramfs.hpp>
#include <ktstr/host/initramfs/test_program.hpp>
#include <ktstr/host/kernel/modules.hpp>
#include <ktstr/host/kernel/needs.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/machine/calibration.hpp>
#include <ktstr/host/machine/vcpu_threads.hpp>
#include <ktstr/host/packages/fetched_program.hpp>
#include <ktstr/host/reserve/cpu_plan.hpp>
#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/host/vm/accelerator.hpp>
#include <ktstr/host/vm/host_tsc.hpp>
#include <ktstr/host/vm/kvm_memory.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/host/vm/qemu_binary.hpp>
#include <ktstr/linux/find_program.hpp>
#include <ktstr/wire/boot.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

struct host_setup {
    std::filesystem::path cache_root;
    test_program program;  ///< this one: what runs, whatever its path leads to meanwhile
    std::string agent_id;  ///< of this program's agent, see template_request
    host::qemu qemu;
    kvm_facts kvm;
    accelerator accel = accelerator::tcg;
    std::vector<std::string> notes;  ///< what a person should know of this host, said aloud
    host::kernel kernel;
    std::optional<kernel_config> config;
    link_facts links;
    link_kind link = link_kind::virtio_serial;
    std::vector<module_file> link_modules;  ///< what the guest loads to have the link
    std::string why_cold;  ///< why no machine of this run can be a clone; empty: they can
    link_kind clone_link = link_kind::virtio_serial;
    std::vector<module_file> template_modules;  ///< what a template loads
    std::vector<int> cpus;  ///< host CPUs this run may use; with a cap, as many as it allows
    host_topology host;     ///< all CPUs that it may choose from
    std::uint64_t calibration_ns = 1;  ///< the real host's, also when this run is nested
    double slowdown = 1;               ///< of this "host" against the real one, when nested
};

/// What a person should know when a build has finished while the run goes on.
[[nodiscard]] inline std::string rebuilt_meanwhile(const test_program& program) {
    return program.path().string() +
           " was rebuilt while it runs; this run tests the program that was started";
}

/// The accelerator for a wish. Under auto, KVM only where it is known to work; a note says why not.
[[nodiscard]] inline result<accelerator> choose_accelerator(accel_wish wish, const kvm_facts& kvm,
                                                            const std::filesystem::path& cache_root,
                                                            std::vector<std::string>& notes) {
    if (wish == accel_wish::tcg)
        return accelerator::tcg;
    if (wish == accel_wish::kvm) {
        if (!kvm.usable)
            return plain_error("use", "--accel kvm", kvm.why_not);
        return accelerator::kvm;
    }
    if (!kvm.usable) {
        notes.push_back("running under emulation (tcg): " + kvm.why_not);
        return accelerator::tcg;
    }
    if (const auto failed = remembered_kvm_failure(cache_root)) {
        notes.push_back("running under emulation (tcg): KVM failed here before (" + *failed +
                        "); --accel kvm tries again");
        return accelerator::tcg;
    }
    return accelerator::kvm;
}

/// The user-space vsock device: in PATH, or fetched into the cache.
[[nodiscard]] inline fetched_program find_vsock_device(const std::filesystem::path& cache_root) {
    if (auto found = find_program("vhost-device-vsock"))
        return {*std::move(found)};
    return find_fetched(cache_root, "vhost-device-vsock", "usr/bin/vhost-device-vsock");
}

/// The modules by which a guest of this kernel reaches its link.
[[nodiscard]] inline std::vector<std::string_view> modules_of_link(
    const std::optional<kernel_config>& config, link_kind link) {
    auto names = first_modules(config);
    if (link == link_kind::virtio_serial)
        names.insert(names.end(), virtio_serial_modules.begin(), virtio_serial_modules.end());
    else
        names.insert(names.end(), vsock_modules.begin(), vsock_modules.end());
    return names;
}

/// Whether machines of this run can be clones, and over which link. The user-space vsock device is not
/// one for them: it needs memory that both processes write.
inline void prepare_clones(host_setup& setup, const options& wanted,
                           const detail::module_index* index) {
    if (wanted.no_clone)
        setup.why_cold = "--no-clone";
    else if (wanted.verbose)
        setup.why_cold = "--verbose shows the kernel's boot";
    else if (wanted.internal.link == link_kind::vhost_device_vsock)
        setup.why_cold = "the vhost-device-vsock link can't be cloned";
    if (!setup.why_cold.empty())
        return;
    setup.clone_link = wanted.internal.link.value_or(
        setup.links.vhost_vsock ? link_kind::vhost_vsock : link_kind::virtio_serial);
    const bool vsock = setup.clone_link == link_kind::vhost_vsock;
    if (setup.config)
        if (const auto missing = check_config(
                *setup.config,
                kernel_need::clone | (vsock ? kernel_need::vsock : kernel_need::virtio_serial));
            !missing.empty()) {
            setup.why_cold = "kernel " + setup.kernel.release + " has " + missing.front().option +
                             '=' + missing.front().found + ": " + missing.front().why;
            return;
        }
    auto names = modules_of_link(setup.config, setup.clone_link);
    names.insert(names.end(), clone_modules.begin(), clone_modules.end());
    if (index == nullptr)
        return;
    auto modules = modules_for(setup.kernel, *index, names);
    if (modules)
        setup.template_modules = std::move(*modules);
    else
        setup.why_cold = modules.error().message();
}

/// Looks at the host and gets the kernel. `machines`: whether any selected test needs one.
[[nodiscard]] inline result<host_setup> prepare_host(const options& wanted, bool machines,
                                                     const progress_callback& progress) {
    host_setup setup;
    auto program = test_program::running();
    if (!program)
        return std::move(program).error();
    setup.program = std::move(*program);
    setup.agent_id = wanted.internal.agent_id;
    setup.cpus = allowed_cpus();
    setup.host = read_host_topology(setup.cpus);
    if (wanted.cpu_cap && static_cast<std::size_t>(*wanted.cpu_cap) < setup.cpus.size())
        setup.cpus.resize(static_cast<std::size_t>(*wanted.cpu_cap));
    setup.calibration_ns = calibrate_host();
    if (const auto real = wanted.internal.calibration_ns) {
        setup.slowdown = dilation_of(setup.calibration_ns, *real);
        setup.calibration_ns = *real;
    }
    if (!machines)
        return setup;
    auto root = cache_root();
    if (!root)
        return std::move(root).error();
    setup.cache_root = std::move(*root);
    auto found = find_qemu(setup.cache_root);
    if (!found)
        return std::move(found).error();
    setup.qemu = std::move(*found);
    setup.kvm = look_at_kvm();
    if (wanted.internal.faults.has(fault::trust_kvm))
        setup.kvm.usable = true;
    auto accel = choose_accelerator(wanted.accel, setup.kvm, setup.cache_root, setup.notes);
    if (!accel)
        return std::move(accel).error();
    setup.accel = *accel;
    if (setup.accel == accelerator::tcg) {
        if (setup.qemu.version < qemu_sound_emulation)
            setup.notes.push_back("the emulation of QEMU " +
                                  std::to_string(setup.qemu.version.major) + '.' +
                                  std::to_string(setup.qemu.version.minor) +
                                  " can crash guest kernels with several vCPUs at random; use 8.1 "
                                  "or newer (Debian 12: "
                                  "ktstr package fetch qemu-system-x86/bookworm-backports)");
    }
    auto kernel = resolve_kernel({.spec = wanted.kernel.value_or("distro"), .progress = progress});
    if (!kernel)
        return std::move(kernel).error();
    setup.kernel = std::move(*kernel);
    setup.links = look_at_links(find_vsock_device(setup.cache_root));
    setup.link = wanted.internal.link.value_or(choose_link(setup.links));
    if (setup.link == link_kind::vhost_vsock && !setup.links.vhost_vsock)
        return plain_error("use", "the vhost-vsock link", setup.links.vhost_vsock_why_not);
    if (setup.link == link_kind::vhost_device_vsock && setup.links.vhost_device_vsock.empty())
        return plain_error("find", "vhost-device-vsock", "it is neither in PATH nor in the cache",
                           "ktstr package fetch vhost-device-vsock");

    if (!setup.kernel.config.empty()) {
        auto config = kernel_config::read(setup.kernel.config);
        if (!config)
            return std::move(config).error();
        setup.config = std::move(*config);
    }
    if (setup.config) {
        // A kernel without vsock still has virtio-serial; only without either is it unusable.
        const bool vsock = check_config(*setup.config, kernel_need::vsock).empty();
        if (!vsock && !wanted.internal.link)
            setup.link = link_kind::virtio_serial;
        const auto need =
            native_needs | (setup.link == link_kind::virtio_serial ? kernel_need::virtio_serial
                                                                   : kernel_need::vsock);
        if (const auto missing = check_config(*setup.config, need); !missing.empty())
            return plain_error("use kernel", setup.kernel.release,
                               "it has " + missing.front().option + '=' + missing.front().found +
                                   ", and " + missing.front().wanted +
                                   " is needed: " + missing.front().why,
                               missing.size() > 1 ? std::to_string(missing.size() - 1) +
                                                        " more are missing, see `ktstr kernel show`"
                                                  : "use --kernel distro");
    }
    const auto names = modules_of_link(setup.config, setup.link);
    std::optional<detail::module_index> index;
    if (!setup.kernel.modules.empty()) {
        index.emplace(setup.kernel.modules);
        auto modules = modules_for(setup.kernel, *index, names);
        if (!modules)
            return std::move(modules).error();
        for (const auto& module : *modules)
            if (::access(module.path.c_str(), R_OK) != 0)
                return system_error("use kernel " + setup.kernel.release + " without its module",
                                    module.path.string(),
                                    "put the kernel's modules back, or use --kernel distro");
        setup.link_modules = std::move(*modules);
    }
    prepare_clones(setup, wanted, index ? &*index : nullptr);
    return setup;
}

/// The program of a scheduler: as a path, else beside the test program, where a build leaves both,
/// else in PATH.
[[nodiscard]] inline result<std::filesystem::path> find_scheduler(const host_setup& setup,
                                                                  const ktstr::scheduler& wanted) {
    std::filesystem::path binary(wanted.binary);
    if (!binary.has_parent_path()) {
        const auto sibling = setup.program.path().parent_path() / binary;
        binary = ::access(sibling.c_str(), X_OK) == 0 ? sibling
                                                      : find_program(wanted.binary).value_or("");
    }
    if (binary.empty() || ::access(binary.c_str(), X_OK) != 0)
        return plain_error("find the scheduler", std::string(wanted.binary),
                           "no such program beside the test program or in PATH",
                           "build it, or give its path in the scheduler's `binary`");
    return binary;
}

/// The initramfs of one cell: its own program as /init, the modules of the link, its scheduler, and
/// whatever more is asked for.
[[nodiscard]] inline result<initramfs> initramfs_for(const host_setup& setup, const cell& one,
                                                     const progress_callback& progress,
                                                     std::vector<guest_program> programs = {}) {
    initramfs_input input;
    input.init = setup.program;
    input.programs = std::move(programs);
    input.modules = setup.link_modules;
    if (one.scheduler->has_program()) {
        auto binary = find_scheduler(setup, *one.scheduler);
        if (!binary)
            return std::move(binary).error();
        input.programs.push_back({.host_path = *binary, .guest_path = wire::scheduler_path});
    }
    return build_initramfs(input, progress);
}

/// The machine of one cell.
[[nodiscard]] inline machine machine_for(const host_setup& setup, const cell& one,
                                         const initramfs& archive, bool verbose) {
    const auto& spec = one.spec();
    const auto& shape = one.topology;
    machine m;
    m.topology = shape;
    m.accel = setup.accel;
    m.one_thread = better_on_one_thread(shape.total_cpus(), setup.cpus.size());
    m.on_emulated_host = setup.slowdown > 1;
    m.borrow_intel_leaves = setup.accel == accelerator::kvm && setup.kvm.amd && !setup.kvm.topoext;
    m.memory_mib = memory_rule(shape.total_cpus(), spec.memory_mib, archive.size);
    m.kernel = setup.kernel.image;
    m.initrd = archive.path;
    if (m.accel == accelerator::tcg && !archive.path.empty())  // it boots
        m.tsc_khz = host_tsc_khz();
    for (const auto& a : spec.kernel_args)
        m.kernel_args.emplace_back(a);
    m.link = setup.link;
    m.verbose_console = verbose;
    return m;
}

/// Why this host can't run a cell as it wants to be run; nothing when it can.
[[nodiscard]] inline std::optional<std::string> unmet_requirement(const host_setup& setup,
                                                                  const cell& one) {
    const auto& spec = one.spec();
    if (spec.host_only)
        return std::nullopt;
    if (spec.performance_mode)
        if (auto lacking = dedicated_lacks(setup.host, one.topology, setup.cpus.size()))
            return lacking;
    if ((spec.requires_kvm || spec.requires_steal) && setup.accel == accelerator::tcg)
        return std::string("the test requires ") +
               (spec.requires_steal ? "steal time, which" : "KVM, and that") +
               (spec.requires_steal ? " emulation (tcg) does not have"
                                    : " is not emulation (tcg)") +
               (setup.kvm.why_not.empty() ? std::string("; use --accel kvm or nested")
                                          : "; " + setup.kvm.why_not);
    if (spec.cpu_budget && static_cast<std::size_t>(*spec.cpu_budget) > setup.cpus.size())
        return "cpu_budget = " + std::to_string(*spec.cpu_budget) + ", and this run may use " +
               std::to_string(setup.cpus.size()) + " host CPUs";
    if (setup.config) {
        auto need = kernel_need::base;
        if (one.scheduler->has_program())
            need = need | kernel_need::sched_ext;
        if (spec.requires_steal)
            need = need | kernel_need::steal;
        if (const auto missing = check_config(*setup.config, need); !missing.empty())
            return "kernel " + setup.kernel.release + " has " + missing.front().option + '=' +
                   missing.front().found + ": " + missing.front().why;
    }
    return std::nullopt;
}

}  // namespace ktstr::host
