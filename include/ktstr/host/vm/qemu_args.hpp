// SPDX-License-Identifier: MIT
// A machine as QEMU's command line. Pure: the same machine and wires give the same arguments, which
// is what --dry-run prints and what the tests compare. The facts behind each option stand beside it.
// Host side.
#pragma once

#include <ktstr/host/vm/architecture.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/wire/boot.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

/// The descriptors a QEMU process inherits. Connected socket pairs, so there is no socket file that
/// somebody else could open or that a killed runner would leave behind.
struct machine_wires {
    int qmp = -1;
    int console = -1;
    int link = -1;           ///< virtio-serial: the port; vhost-device-vsock: its vhost-user socket
    int vhost = -1;          ///< vhost-vsock: /dev/vhost-vsock with the context id already set
    std::uint32_t cid = 0;   ///< vhost-vsock: the guest's context id
    std::uint32_t port = 0;  ///< vsock port the host listens on
};

/// The value of -cpu. See architecture notes in docs/machines.md for how each was found.
[[nodiscard]] inline std::string cpu_model(const machine& m) {
    const auto& known = machine_architecture;
    if (m.accel == accelerator::tcg)
        return std::string(m.nested_virtualization ? known.emulated_cpu_for_kvm
                                                   : known.emulated_cpu);
    return std::string(m.borrow_intel_leaves ? known.kvm_cpu_borrowed : known.kvm_cpu);
}

[[nodiscard]] inline std::string smp_value(const topology& t) {
    // NUMA node = socket, LLC = die, so that one package holds several LLCs.
    const int dies = t.llcs / t.numa_nodes;
    return std::to_string(t.total_cpus()) + ",sockets=" + std::to_string(t.numa_nodes) +
           ",dies=" + std::to_string(dies) + ",cores=" + std::to_string(t.cores) +
           ",threads=" + std::to_string(t.threads);
}

/// The kernel command line.
[[nodiscard]] inline std::string kernel_command_line(const machine& m, const machine_wires& w) {
    const auto& known = machine_architecture;
    std::string line = "console=";
    line.append(known.console).append(" panic=-1 reboot=").append(known.reboot);
    // Warnings and worse reach the console, which is what verdicts such as oops are read from; a line
    // is the kernel's by its time stamp.
    line += " printk.time=1";
    if (m.verbose_console)
        line.append(" loglevel=7 earlyprintk=").append(known.early_console);
    else
        line += " loglevel=5";
    // Entropy from the CPU at once, and no self-tests of ciphers nobody uses here.
    line += " random.trust_cpu=on cryptomgr.notests";
    if (m.accel == accelerator::tcg)
        line.append(" ").append(known.emulated_clock);
    if (m.accel == accelerator::tcg || m.on_emulated_host)
        // Mitigations guard nobody here and cost an emulator a jump for every return; DAMON's statistics
        // would wake an idle machine for ever.
        line += " mitigations=off damon_stat.enabled=0";
    if (m.accel == accelerator::tcg && m.tsc_khz)
        line.append(" ").append(known.clock_rate_khz).append("=" + std::to_string(*m.tsc_khz));
    wire::boot_words words;
    if (m.link != link_kind::virtio_serial)
        words.vsock_port = w.port;
    if (m.boot != machine::boot_kind::cold) {
        words.template_of = to_text(m.topology);
        const int nodes = m.topology.numa_nodes;
        for (int from = 0; nodes > 1 && from < nodes; ++from)
            for (int to = 0; to < nodes; ++to)
                words.distances.push_back(
                    static_cast<std::uint32_t>(m.topology.distance(from, to)));
    }
    line += to_text(words);
    for (const auto& a : m.kernel_args)
        line += ' ' + a;
    return line;
}

/// A text as the value of one of QEMU's comma-separated options.
[[nodiscard]] inline std::string option_value(std::string_view text) {
    std::string value;
    for (const char c : text)
        value.append(c == ',' ? 2U : 1U, c);
    return value;
}

/// Everything behind argv[0].
[[nodiscard]] inline std::vector<std::string> qemu_arguments(const machine& m,
                                                             const machine_wires& w,
                                                             std::string_view name) {
    std::vector<std::string> a;
    const auto add = [&a](auto... text) { (a.emplace_back(text), ...); };
    add("-name", "ktstr-" + option_value(name) + ",debug-threads=on");
    add("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot");
    add("-S");
    if (m.boot == machine::boot_kind::clone)
        add("-incoming", "defer");
    // QEMU needs none of these once it runs; a guest that breaks out finds them shut.
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add("-machine", machine_architecture.machine_type);
    add("-accel", m.accel == accelerator::kvm ? "kvm"
                  : m.one_thread              ? "tcg,thread=single"
                                              : "tcg,thread=multi");
    const bool dedicated = m.dedicated && m.accel == accelerator::kvm;
    add("-cpu",
        cpu_model(m).append(dedicated ? machine_architecture.dedicated_cpu : std::string_view{}));
    if (dedicated)  // HLT, MWAIT and PAUSE do not leave the guest
        add("-overcommit", "cpu-pm=on");
    add("-smp", smp_value(m.topology));
    add("-m", std::to_string(m.memory_mib) + "M");

    // vhost-user devices read guest memory from another process, so it must be shared.
    const bool shared = m.link == link_kind::vhost_device_vsock;
    const bool cloning = m.boot != machine::boot_kind::cold;
    std::string backend = shared    ? "memory-backend-memfd,share=on"
                          : cloning ? "memory-backend-file"
                                    : "memory-backend-ram";
    if (m.hugepages)  // all of them at the start: what is short later would kill the machine
        backend = std::string("memory-backend-memfd,hugetlb=on,hugetlbsize=2M,prealloc=on,share=") +
                  (shared ? "on" : "off");
    const int nodes = m.topology.numa_nodes;
    int left = m.memory_mib;
    for (int node = 0; node < nodes; ++node) {
        const int size = node == nodes - 1 ? left : m.memory_mib / nodes;
        left -= size;
        const auto id = "ram" + std::to_string(node);
        // A template writes its memory into the file, whatever it began as; a clone has the file's pages until it writes
        // to them, and then its own.
        std::string more;
        if (cloning)
            more = ",mem-path=" + option_value(m.ram[static_cast<std::size_t>(node)].native()) +
                   (m.boot == machine::boot_kind::clone && !m.on_emulated_host && !m.keeps_memory
                        ? ",share=off"
                        : ",share=on");
        if (const auto n = static_cast<std::size_t>(node); n < m.host_nodes.size()) {
            for (const int host_node : m.host_nodes[n])
                more += ",host-nodes=" + std::to_string(host_node);
            more += ",policy=bind";
        }
        add("-object", backend + ",id=" + id + ",size=" + std::to_string(size) + "M" + more);
        add("-numa", "node,nodeid=" + std::to_string(node) + ",memdev=" + id);
        if (nodes > 1)
            add("-numa",
                "cpu,node-id=" + std::to_string(node) + ",socket-id=" + std::to_string(node));
    }
    for (int from = 0; from < nodes; ++from)
        for (int to = from + 1; to < nodes; ++to)
            add("-numa", "dist,src=" + std::to_string(from) + ",dst=" + std::to_string(to) +
                             ",val=" + std::to_string(m.topology.distance(from, to)));

    add("-chardev", "socket,id=qmp,fd=" + std::to_string(w.qmp));
    add("-mon", "chardev=qmp,mode=control");
    add("-chardev", "socket,id=console,fd=" + std::to_string(w.console));
    add("-serial", "chardev:console");

    switch (m.link) {
        case link_kind::virtio_serial:
            add("-chardev", "socket,id=link,fd=" + std::to_string(w.link));
            add("-device", "virtio-serial-pci,disable-legacy=on");
            add("-device",
                "virtserialport,chardev=link,name=" + std::string(wire::serial_port_name));
            break;
        case link_kind::vhost_vsock:
            add("-device", "vhost-vsock-pci,disable-legacy=on,guest-cid=" + std::to_string(w.cid) +
                               ",vhostfd=" + std::to_string(w.vhost));
            break;
        case link_kind::vhost_device_vsock:
            add("-chardev", "socket,id=link,fd=" + std::to_string(w.link));
            add("-device", "vhost-user-vsock-pci,disable-legacy=on,chardev=link");
            break;
    }
    for (std::size_t i = 0; i < m.disks.size(); ++i) {
        const auto id = "disk" + std::to_string(i);
        add("-drive", "if=none,id=" + id +
                          ",format=raw,readonly=on,file.driver=file,file.locking=off,"
                          "file.filename=" +
                          option_value(m.disks[i].native()));
        add("-device", "virtio-blk-pci,drive=" + id + ",disable-legacy=on");
    }
    if (m.boot == machine::boot_kind::clone)
        return a;  // the kernel is in memory already, and reading it again would cost as much as waking
    add("-kernel", m.kernel.string(), "-initrd", m.initrd.string());
    add("-append", kernel_command_line(m, w));
    return a;
}

}  // namespace ktstr::host
