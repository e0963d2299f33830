// SPDX-License-Identifier: MIT
// The one place where a cell's machine is made: one that boots, a clone, one with host CPUs of its own.
// What it returns is complete; whoever has more to say of a machine makes it anew. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/setup/performance.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/vm/host_tsc.hpp>
#include <ktstr/host/vm/machine.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ktstr::host {

/// What a machine is made of besides its cell and the host.
struct machine_parts {
    accelerator accel = accelerator::tcg;
    bool verbose = false;

    // It boots from this...
    std::filesystem::path archive = {};
    std::uint64_t archive_size = 0;
    // ...or it is a clone, with disks that hold its files, and with its template's memory where there is
    // a template already.
    std::vector<std::filesystem::path> disks = {};
    std::uint64_t unpacked_size = 0;
    std::vector<std::filesystem::path> ram = {};
    /// Performance mode: the host's memory nodes behind each of the machine's.
    std::optional<std::vector<std::vector<int>>> host_nodes = {};
};

/// `notes`: what a report should say of it.
[[nodiscard]] inline machine build_machine(const run_setup& setup, const cell& one,
                                           const machine_parts& parts,
                                           std::vector<std::string>* notes = nullptr) {
    const auto& host = setup.host;
    const auto& its = setup.kernel_of(one);
    const int vcpus = one.topology.total_cpus();
    const bool is_clone = !parts.disks.empty();
    machine m;
    m.topology = one.topology;
    m.accel = parts.accel;
    m.one_thread = better_on_one_thread(vcpus, host.cpus.size());
    m.on_emulated_host = host.slowdown > 1;
    m.borrow_intel_leaves = m.accel == accelerator::kvm && host.kvm.amd && !host.kvm.topoext;
    m.memory_mib = memory_rule(vcpus, one.spec().memory_mib,
                               is_clone ? parts.unpacked_size : parts.archive_size);
    m.kernel = its.kernel.image;
    for (const auto& word : one.scheduler->kernel_args)
        m.kernel_args.emplace_back(word);
    for (const auto& word : one.spec().kernel_args)
        m.kernel_args.emplace_back(word);
    if (is_clone) {
        m.boot = machine::boot_kind::clone;
        m.link = its.clone_link;
        // The rule must not notice a program that grows by a line.
        m.memory_mib = (m.memory_mib + 63) / 64 * 64;
        m.disks = parts.disks;
        m.ram = parts.ram;
    } else {
        m.link = its.link;
        m.initrd = parts.archive;
        if (m.accel == accelerator::tcg)
            m.tsc_khz = host_tsc_khz();
        m.verbose_console = parts.verbose;
    }
    if (parts.host_nodes) {
        auto said = dedicate(m, *parts.host_nodes);
        if (notes != nullptr)
            notes->insert(notes->end(), said.begin(), said.end());
    }
    return m;
}

}  // namespace ktstr::host
