// SPDX-License-Identifier: MIT
// What a test needs of a kernel's configuration, and why, so that a kernel that cannot do it is
// refused by name before it boots. guest-kernel-config/*.config build kernels that satisfy this
// table; a unit test keeps both in step. Host side.
#pragma once

#include <ktstr/host/kernel/kernel_config.hpp>
#include <ktstr/host/vm/architecture.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

/// What the test does that a kernel may be unable to do. Combine with |.
enum class kernel_need : std::uint8_t {
    base = 1,            ///< every test, on every architecture
    architecture = 2,    ///< every test on the machines' architecture
    sched_ext = 4,       ///< a sched_ext scheduler is loaded
    steal = 8,           ///< guest steal time is measured
    vsock = 16,          ///< the link is vsock
    virtio_serial = 32,  ///< the link is virtio-serial
    nested = 64,         ///< the kernel of the outer machine of --accel nested
    clone = 128,         ///< the machine is a clone of a template
};

[[nodiscard]] constexpr kernel_need operator|(kernel_need a, kernel_need b) {
    return static_cast<kernel_need>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
[[nodiscard]] constexpr bool contains(kernel_need all, kernel_need one) {
    return (static_cast<std::uint8_t>(all) & static_cast<std::uint8_t>(one)) != 0;
}

/// What every test needs.
inline constexpr kernel_need native_needs = kernel_need::base | kernel_need::architecture;

/// Modules to load, in no particular order, see modules_for(). Built-in ones are skipped there.
inline constexpr std::array<std::string_view, 3> vsock_modules{
    "vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"};
inline constexpr std::array<std::string_view, 1> virtio_serial_modules{"virtio_console"};
inline constexpr std::array<std::string_view, 2> clone_modules{"virtio_blk", "erofs"};
/// The outer machine of --accel nested: the host's end of vsock, beside its architecture's KVM.
inline constexpr std::array<std::string_view, 1> nested_modules{"vhost_vsock"};

/// One option a test needs.
struct config_need {
    kernel_need when{};
    std::string_view option;  ///< without "CONFIG_"
    char at_least = 'y';      ///< 'y': built in; 'm': a module will do
    std::string_view why;
    std::string_view instead = {};  ///< another option that also satisfies the need
};

namespace detail {

inline constexpr config_need common_needs[] = {
    {kernel_need::base, "SMP", 'y', "a scheduler is tested on several CPUs"},
    {kernel_need::base, "BLK_DEV_INITRD", 'y', "the guest's root is an initramfs"},
    {kernel_need::base, "BINFMT_ELF", 'y', "the test program is an ELF file"},
    {kernel_need::base, "TTY", 'y', "the console is how a dying kernel speaks"},
    {kernel_need::base, "PRINTK", 'y', "panics and oopses are read from the console"},
    {kernel_need::base, "DEVTMPFS", 'y', "the guest finds its devices in /dev"},
    {kernel_need::base, "PROC_FS", 'y', "the harness reads /proc"},
    {kernel_need::base, "SYSFS", 'y', "the topology is proved from /sys"},
    {kernel_need::base, "TMPFS", 'y', "scratch files of a test"},
    {kernel_need::base, "PROC_SYSCTL", 'y', "without it AF_VSOCK unregisters itself", "SYSCTL"},
    {kernel_need::base, "PCI", 'y', "every virtual device is on PCI"},
    {kernel_need::base, "VIRTIO_PCI", 'm', "the link is a virtio device"},
    {kernel_need::base, "NET", 'y', "the harness uses sockets"},
    {kernel_need::base, "UNIX", 'y', "the harness uses socket pairs"},
    {kernel_need::base, "FUTEX", 'y', "threads wait on futexes"},
    {kernel_need::base, "EPOLL", 'y', "the harness waits for several events"},
    {kernel_need::base, "SIGNALFD", 'y', "the harness reaps children by event"},
    {kernel_need::base, "TIMERFD", 'y', "the harness keeps its deadlines"},
    {kernel_need::base, "EVENTFD", 'y', "threads of the harness wake each other"},
    {kernel_need::base, "POSIX_TIMERS", 'y', "workloads sleep with clock_nanosleep"},
    {kernel_need::base, "HIGH_RES_TIMERS", 'y', "millisecond workloads need better than a tick"},
    {kernel_need::base, "MULTIUSER", 'y', "nice values and real-time priorities are set"},
    {kernel_need::base, "CGROUPS", 'y', "scenarios run in cgroups"},
    {kernel_need::base, "CGROUP_SCHED", 'y', "cgroups have CPU weights"},
    {kernel_need::base, "FAIR_GROUP_SCHED", 'y', "cpu.weight acts on fair tasks"},
    {kernel_need::base, "CPUSETS", 'y', "scenarios bind cgroups to CPUs"},
    {kernel_need::base, "NUMA", 'y', "a test's machine may have several nodes"},
    {kernel_need::base, "SCHED_MC", 'y', "the scheduler sees last-level caches"},
    {kernel_need::base, "SCHED_SMT", 'y', "the scheduler sees hardware threads"},
    {kernel_need::base, "SCHEDSTATS", 'y', "run delays are read from schedstat"},
    {kernel_need::sched_ext, "SCHED_CLASS_EXT", 'y', "the scheduler is a sched_ext scheduler"},
    {kernel_need::sched_ext, "BPF", 'y', "sched_ext schedulers are BPF programs"},
    {kernel_need::sched_ext, "BPF_SYSCALL", 'y', "sched_ext schedulers are BPF programs"},
    {kernel_need::sched_ext, "BPF_JIT", 'y', "struct_ops programs run only when compiled"},
    {kernel_need::sched_ext, "DEBUG_INFO_BTF", 'y',
     "BPF schedulers are relocated by the kernel's "
     "type information"},
    {kernel_need::steal, "PARAVIRT", 'y', "steal time is a paravirtual clock"},
    {kernel_need::vsock, "VSOCKETS", 'm', "the link is vsock"},
    {kernel_need::vsock, "VIRTIO_VSOCKETS", 'm', "the link is vsock"},
    {kernel_need::virtio_serial, "VIRTIO_CONSOLE", 'm', "the link is virtio-serial"},
    {kernel_need::clone, "VIRTIO_BLK", 'm', "the test program reaches a clone on a disk"},
    {kernel_need::clone, "EROFS_FS", 'm', "the test program reaches a clone on a disk"},
    {kernel_need::nested, "KVM", 'm', "the outer machine starts virtual machines"},
    {kernel_need::nested, "VHOST_VSOCK", 'm', "the inner machine's link ends in the outer one"},
};

}  // namespace detail

/// All of it, with what the machines' architecture adds.
inline constexpr auto config_needs = [] {
    const auto& known = machine_architecture;
    std::array<config_need,
               std::size(detail::common_needs) + known.needs.size() + known.steal.size()>
        all{};
    auto at =
        std::copy(std::begin(detail::common_needs), std::end(detail::common_needs), all.begin());
    for (const auto& one : known.needs)
        *at++ = {kernel_need::architecture, one.name, 'y', one.why, one.instead};
    for (const auto& one : known.steal)
        *at++ = {kernel_need::steal, one.name, 'y', one.why, one.instead};
    return all;
}();

struct missing_option {
    std::string option;  ///< "CONFIG_VSOCKETS"
    std::string why;     ///< "the link is vsock"
    std::string wanted;  ///< "y", or "y or m"; what it is now is in `found`
    std::string found;   ///< "m", "n", or "absent"
};

/// Modules to load first, because others stand on them though no list of dependencies says so: virtio's
/// bus, which is built into most kernels made for virtual machines and into few others, and the
/// algorithm that libcrc32c (EROFS needs it, before Linux 6.15) looks up by name.
[[nodiscard]] inline std::vector<std::string_view> first_modules(
    const std::optional<kernel_config>& config) {
    std::vector<std::string_view> names;
    if (config && config->tristate("VIRTIO_PCI") == 'm')
        names.push_back("virtio_pci");
    if (config && config->tristate("LIBCRC32C") == 'm' && config->tristate("CRYPTO_CRC32C") == 'm')
        names.push_back("crc32c_generic");
    return names;
}

/// What the configuration lacks for the given needs, in the order of the table. With `base` alone
/// one of the two links is enough; ask for `vsock` or `virtio_serial` to insist.
[[nodiscard]] inline std::vector<missing_option> check_config(const kernel_config& config,
                                                              kernel_need needs) {
    std::vector<missing_option> missing;
    const auto satisfied = [&](std::string_view option, char at_least) {
        const char value = config.tristate(option);
        return value == 'y' || (value == 'm' && at_least == 'm');
    };
    for (const config_need& need : config_needs) {
        if (!contains(needs, need.when) || satisfied(need.option, need.at_least) ||
            (!need.instead.empty() && satisfied(need.instead, need.at_least)))
            continue;
        missing.push_back({"CONFIG_" + std::string(need.option), std::string(need.why),
                           need.at_least == 'm' ? "y or m" : "y",
                           std::string(config.value(need.option).value_or("absent"))});
    }
    if (contains(needs, kernel_need::base) && !satisfied("VIRTIO_CONSOLE", 'm') &&
        !(satisfied("VSOCKETS", 'm') && satisfied("VIRTIO_VSOCKETS", 'm')))
        missing.push_back({"CONFIG_VIRTIO_VSOCKETS", "the harness needs a link to the guest",
                           "y or m, with CONFIG_VSOCKETS; or CONFIG_VIRTIO_CONSOLE",
                           std::string(config.value("VIRTIO_VSOCKETS").value_or("absent"))});
    return missing;
}

}  // namespace ktstr::host
