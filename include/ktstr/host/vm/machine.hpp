// SPDX-License-Identifier: MIT
// The machine one test gets, as data: what qemu_args.hpp turns into a command line and what a clone
// template would be keyed by. Nothing here starts anything. Host side.
#pragma once

#include <ktstr/host/vm/accelerator.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ktstr::host {

/// What carries the link between host and guest.
enum class link_kind { vhost_vsock, vhost_device_vsock, virtio_serial };

[[nodiscard]] constexpr std::string_view to_text(link_kind kind) {
    switch (kind) {
        case link_kind::vhost_vsock:
            return "vhost-vsock";
        case link_kind::vhost_device_vsock:
            return "vhost-device-vsock";
        case link_kind::virtio_serial:
            return "virtio-serial";
    }
    return "?";
}

struct machine {
    ktstr::topology topology{};
    int memory_mib = 0;
    accelerator accel = accelerator::tcg;
    /// KVM on an AMD host without TOPOEXT (an emulated host is one) must borrow the other vendor's
    /// leaves to show several LLCs, and give up the hypercalls whose instruction differs.
    bool borrow_intel_leaves = false;
    bool one_thread = false;  ///< emulate all vCPUs in turn on one host thread
    /// Under the KVM of a machine that is emulated itself: its clones have copies of their template's
    /// memory.
    bool on_emulated_host = false;
    bool nested_virtualization = false;  ///< expose SVM: the outer machine of `--accel nested`
    std::filesystem::path kernel;
    std::filesystem::path initrd;
    std::vector<std::string> kernel_args;  ///< added behind ktstr's own
    link_kind link = link_kind::virtio_serial;
    std::optional<std::uint64_t> tsc_khz;  ///< of the host, for an emulated guest; see host_tsc.hpp
    /// A template's memory, or what a clone's begins with: one file for each node. Empty: memory of the
    /// machine's own, as for a cold boot.
    std::vector<std::filesystem::path> ram;
    enum class boot_kind { cold, as_template, clone } boot = boot_kind::cold;
    bool keeps_memory =
        false;  ///< a clone that writes to the files in `ram`: it will be saved itself
    std::vector<std::filesystem::path> disks;  ///< read-only; a clone's, see wire/protocol.hpp
    bool verbose_console = false;  ///< every kernel message on the console, not only warnings

    // Performance mode.
    std::vector<std::vector<int>> host_nodes;  ///< memory of each node comes from these alone
    bool hugepages = false;                    ///< 2 MiB ones
    bool dedicated = false;  ///< no vCPU shares its host CPU: it need not give it up when idle

    friend bool operator==(const machine&, const machine&) = default;
};

/// Whether emulation should take the vCPUs in turn on one thread instead of a thread each. Kernels spin
/// while they wait for each other's CPUs; with many more vCPU threads than host CPUs nearly all time
/// goes into that, while one thread moves on to the next vCPU at every PAUSE. 32 vCPUs on two host
/// CPUs came up five times sooner.
[[nodiscard]] constexpr bool better_on_one_thread(int vcpus, std::size_t host_cpus) {
    return static_cast<std::size_t>(vcpus) > 4 * host_cpus;
}

/// MiB of memory for a machine: 64 per vCPU, at least 256, at least what the initramfs needs to be
/// unpacked (its archive and its files are both in memory for a moment, and a tmpfs takes at most
/// half of memory), at least what the test asks for.
[[nodiscard]] constexpr int memory_rule(int vcpus, std::optional<int> memory_mib,
                                        std::uint64_t initramfs_bytes = 0) {
    const auto unpack = static_cast<int>(initramfs_bytes * 5 / 2 / (1024 * 1024)) + 160;
    int mib = vcpus * 64 > 256 ? vcpus * 64 : 256;
    if (initramfs_bytes > 0 && unpack > mib)
        mib = unpack;
    if (memory_mib && *memory_mib > mib)
        mib = *memory_mib;
    return mib;
}

}  // namespace ktstr::host
