// SPDX-License-Identifier: MIT
// --dry-run: the exact QEMU command line of each selected test, without starting one. Descriptor
// numbers stand for the sockets a real run would hand over. Host side.
#pragma once

#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/report/exit_status.hpp>
#include <ktstr/host/setup/build_machine.hpp>
#include <ktstr/host/setup/run_setup.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/host/vm/qemu_args.hpp>

#include <algorithm>
#include <cstdio>
#include <string>

namespace ktstr::host {

[[nodiscard]] inline int run_dry(const options& wanted, const cell_list& cells) {
    const auto progress = [](std::string_view line) {
        std::fprintf(stderr, "ktstr: %.*s\n", static_cast<int>(line.size()), line.data());
    };
    const auto fail = [](const error& e) {
        std::fprintf(stderr, "ktstr: %s\n", e.message().c_str());
        return exit_run_impossible;
    };
    auto setup = prepare_run(wanted, kernels_of(cells), progress);
    if (!setup)
        return fail(setup.error());
    const auto may_be_cloned = [&](const cell& one) {
        return one.has_machine() && setup->kernel_of(one).why_cold.empty();
    };
    if (std::any_of(cells.begin(), cells.end(), may_be_cloned))
        std::printf(
            "# each machine as it boots; a run clones what has booted where it can, and boots "
            "with --no-clone\n");
    for (const cell& one : cells) {
        const auto& name = one.name;
        if (!one.has_machine()) {
            std::printf("# %s: host_only, no machine\n", name.c_str());
            continue;
        }
        if (const auto lacking = unmet_requirement(*setup, one, setup->host.accel))
            std::printf("# %s would be skipped: %s\n", name.c_str(), lacking->c_str());
        else
            std::printf("# %s\n", name.c_str());
        auto archive = initramfs_for(*setup, one, progress);
        if (!archive)
            return fail(archive.error());
        machine_parts parts{.accel = setup->host.accel,
                            .verbose = wanted.verbose,
                            .archive = archive->path,
                            .archive_size = archive->size};
        if (one.spec().performance_mode)  // as on this host when nobody else uses it
            if (const auto plan = plan_dedicated(setup->host.topology, {}, one.topology))
                parts.host_nodes = plan->nodes;
        const auto m = build_machine(*setup, one, parts);
        machine_wires wires{.qmp = 3, .console = 4};
        (m.link == link_kind::vhost_vsock ? wires.vhost : wires.link) = 5;
        wires.cid = 3;
        wires.port = wire::vsock_port;
        std::vector<std::string> words{setup->host.qemu.path.string()};
        for (auto& word : qemu_arguments(m, wires, name))
            words.push_back(std::move(word));
        std::printf("%s\n", shell_quoted(words).c_str());
    }
    return std::fflush(stdout) == 0 ? 0 : exit_run_impossible;
}

}  // namespace ktstr::host
