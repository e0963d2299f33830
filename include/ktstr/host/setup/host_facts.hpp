// SPDX-License-Identifier: MIT
// What a run needs to know of this host, looked at once and never changed: the program, QEMU, KVM, the
// carriers of the link, CPUs, speed. A failure here is "the run itself could not be done" (exit 3),
// told before any test starts. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache_root.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/initramfs/opened_program.hpp>
#include <ktstr/host/initramfs/test_program.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/machine/calibration.hpp>
#include <ktstr/host/machine/vcpu_threads.hpp>
#include <ktstr/host/packages/fetched_program.hpp>
#include <ktstr/host/reserve/host_topology.hpp>
#include <ktstr/host/vm/accelerator.hpp>
#include <ktstr/host/vm/kvm_memory.hpp>
#include <ktstr/host/vm/qemu_binary.hpp>
#include <ktstr/linux/find_program.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::host {

struct host_facts {
    std::filesystem::path cache_root;
    test_program program;  ///< this one: what runs, whatever its path leads to meanwhile
    std::string agent_id;  ///< of this program's agent, see template_request
    /// The schedulers' programs, each opened when a machine first needs it.
    std::shared_ptr<opened_programs> schedulers = std::make_shared<opened_programs>();
    host::qemu qemu;
    kvm_facts kvm;
    accelerator accel = accelerator::tcg;  ///< which the run begins with
    link_facts links;
    std::vector<int> cpus;   ///< host CPUs this run may use; with a cap, as many as it allows
    host_topology topology;  ///< all CPUs that it may choose from
    std::uint64_t calibration_ns = 1;  ///< the real host's, also when this run is nested
    double slowdown = 1;               ///< of this "host" against the real one, when nested
    std::vector<std::string> notes;    ///< what a person should know of this host, said aloud
};

/// What a person should know when a build has finished while the run goes on.
[[nodiscard]] inline std::string rebuilt_meanwhile(const test_program& program) {
    return program.path().string() +
           " was rebuilt while it runs; this run tests the program that was started";
}

/// The same of a scheduler's program, or of a library.
[[nodiscard]] inline std::string rebuilt_meanwhile(const std::filesystem::path& file) {
    return file.string() +
           " was rebuilt while this run goes on; its machines get the one that the run began with";
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

/// The host's CPUs, which every run needs.
inline void look_at_cpus(host_facts& facts, const options& wanted) {
    facts.cpus = allowed_cpus();
    facts.topology = read_host_topology(facts.cpus);
    if (wanted.cpu_cap && static_cast<std::size_t>(*wanted.cpu_cap) < facts.cpus.size())
        facts.cpus.resize(static_cast<std::size_t>(*wanted.cpu_cap));
}

/// `machines`: whether any selected test needs one.
[[nodiscard]] inline result<host_facts> look_at_host(const options& wanted, bool machines) {
    host_facts facts;
    auto program = test_program::running();
    if (!program)
        return std::move(program).error();
    facts.program = std::move(*program);
    facts.agent_id = wanted.internal.agent_id;
    look_at_cpus(facts, wanted);
    facts.calibration_ns = calibrate_host();
    if (const auto real = wanted.internal.calibration_ns) {
        facts.slowdown = dilation_of(facts.calibration_ns, *real);
        facts.calibration_ns = *real;
    }
    if (!machines)
        return facts;
    auto root = cache_root();
    if (!root)
        return std::move(root).error();
    facts.cache_root = std::move(*root);
    auto found = find_qemu(facts.cache_root);
    if (!found)
        return std::move(found).error();
    facts.qemu = std::move(*found);
    facts.kvm = look_at_kvm();
    if (wanted.internal.faults.has(fault::trust_kvm))
        facts.kvm.usable = true;
    auto accel = choose_accelerator(wanted.accel, facts.kvm, facts.cache_root, facts.notes);
    if (!accel)
        return std::move(accel).error();
    facts.accel = *accel;
    if (facts.accel == accelerator::tcg && facts.qemu.version < qemu_sound_emulation)
        facts.notes.push_back(
            "the emulation of QEMU " + std::to_string(facts.qemu.version.major) + '.' +
            std::to_string(facts.qemu.version.minor) +
            " can crash guest kernels with several vCPUs at random; use 8.1 or newer (Debian 12: " +
            newer_qemu_command() + ')');
    facts.links = look_at_links(find_vsock_device(facts.cache_root));
    return facts;
}

}  // namespace ktstr::host
