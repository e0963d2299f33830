// SPDX-License-Identifier: MIT
// What differs between the architectures of machines, one row for each that ktstr can start. Nothing else on the
// host side knows one by name; what only a compiler can choose, such as an instruction, asks its macros. Host side.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <elf.h>

namespace ktstr::host {

struct architecture {
    /// One option of the kernel's configuration, without "CONFIG_"; it must be built in.
    struct kernel_option {
        std::string_view name;
        std::string_view why;
        std::string_view instead = {};
    };

    std::string_view name;

    // QEMU.
    std::string_view qemu;          ///< its program
    std::string_view qemu_package;  ///< what Debian and Fedora call the package with it
    std::string_view machine_type;  ///< the value of -machine
    /// Its files for a direct boot of a kernel. Those a version does not have are left out.
    std::span<const std::string_view> firmware;

    // The value of -cpu.
    std::string_view emulated_cpu;
    std::string_view emulated_cpu_for_kvm;  ///< of the machine around a nested run
    std::string_view kvm_cpu;
    std::string_view kvm_cpu_borrowed;  ///< where the host's own leaves hide LLCs, see machine.hpp
    std::string_view dedicated_cpu;     ///< added where no vCPU shares its host CPU

    // The kernel's command line.
    std::string_view console;
    std::string_view early_console;
    std::string_view reboot;
    std::string_view emulated_clock;  ///< what makes the kernel believe it
    std::string_view clock_rate_khz;  ///< the word that tells the rate; see host_tsc.hpp

    // The kernel.
    std::uint16_t elf_machine;
    bool elf_kernel_needs_pvh;              ///< QEMU starts no other ELF file
    std::string_view compressed_image;      ///< in a build tree
    std::string_view source_folder;         ///< below arch/, and what libbpf's headers call it
    std::span<const kernel_option> needs;   ///< of every test
    std::span<const kernel_option> steal;   ///< of a test that measures steal time
    std::span<const std::string_view> kvm;  ///< modules of the machine around a nested run
};

namespace detail {

inline constexpr std::string_view x86_64_firmware[] = {
    "bios-256k.bin", "pvh.bin", "linuxboot_dma.bin", "kvmvapic.bin", "linuxboot.bin"};
inline constexpr architecture::kernel_option x86_64_needs[] = {
    {"SERIAL_8250", "the console is a serial port"},
    {"SERIAL_8250_CONSOLE", "the console is a serial port"},
    {"ACPI", "QEMU describes the machine by ACPI"},
    {"X86_64_ACPI_NUMA", "nodes and distances come from ACPI tables"},
    {"X86_X2APIC", "more than 255 CPUs, and topology from CPUID"}};
inline constexpr architecture::kernel_option x86_64_steal[] = {
    {"KVM_GUEST", "the guest must register its steal area with KVM"}};
inline constexpr std::string_view x86_64_kvm[] = {"kvm", "kvm_amd"};

}  // namespace detail

inline constexpr architecture architectures[] = {
    {.name = "x86_64",
     .qemu = "qemu-system-x86_64",
     .qemu_package = "qemu-system-x86",
     .machine_type = "q35,hpet=off,smbus=off,sata=off,usb=off,graphics=off,vmport=off",
     .firmware = detail::x86_64_firmware,
     // AMD's default hides dies from the guest; QEMU 10.0 aborts on CPUID leaf 0x1f unless the level is clamped.
     .emulated_cpu = "max,vendor=GenuineIntel,level=0x14",
     // Nested KVM needs AMD's SVM, and no dies. Emulated SVM does not intercept XSETBV, so a kernel inside would
     // find its XSAVE area of two sizes and die.
     .emulated_cpu_for_kvm = "max,xsave=off",
     .kvm_cpu = "host,host-cache-info=off,l3-cache=on",
     .kvm_cpu_borrowed = "host,vendor=GenuineIntel,level=0x14,kvm-pv-ipi=off,kvm-pv-unhalt=off,"
                         "kvm-pv-sched-yield=off",
     .dedicated_cpu = ",kvm-hint-dedicated=on",
     .console = "ttyS0",
     .early_console = "ttyS0,115200",
     .reboot = "t,force",
     // The emulated TSC is the host's clock on every vCPU; without this the kernel distrusts it and reads a slow
     // clock for the rest of its life.
     .emulated_clock = "tsc=reliable no_timer_check",
     .clock_rate_khz = "tsc_early_khz",
     .elf_machine = EM_X86_64,
     .elf_kernel_needs_pvh = true,
     .compressed_image = "arch/x86/boot/bzImage",
     .source_folder = "x86",
     .needs = detail::x86_64_needs,
     .steal = detail::x86_64_steal,
     .kvm = detail::x86_64_kvm}};

/// The machine of BPF objects, which a kernel of any architecture takes.
inline constexpr std::uint16_t bpf_machine = EM_BPF;

/// What people call the machine of an ELF file, also one that has no row.
[[nodiscard]] inline std::string elf_machine_name(std::uint16_t machine) {
    switch (machine) {
        case EM_X86_64:
            return "x86_64";
        case EM_AARCH64:
            return "aarch64";
        case EM_RISCV:
            return "riscv64";
        default:
            return "ELF machine " + std::to_string(machine);
    }
}

/// Of the machines of this run. A second row brings the choice with it.
inline constexpr const architecture& machine_architecture = architectures[0];

}  // namespace ktstr::host
