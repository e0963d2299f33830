// SPDX-License-Identifier: MIT
// Where the machines of a run's attempts come from: clones of templates where it can be, else machines
// that boot from an archive. First enough of a machine to reserve what it takes, then, with its share
// of the host, the one that is started. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/clone/clone_sources.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/reserve/reservations.hpp>
#include <ktstr/host/setup/build_machine.hpp>
#include <ktstr/host/setup/run_setup.hpp>

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::host {

/// For a body without a machine, nothing.
struct machine_source {
    std::optional<host::machine> machine;
    machine_parts parts;         ///< of a machine that boots
    clone_sources::clone clone;  ///< its machine is absent when this one boots

    [[nodiscard]] bool is_clone() const noexcept { return clone.machine.has_value(); }
};

class machine_sources {
public:
    machine_sources(const options& wanted, const run_setup& setup,
                    const std::filesystem::path& private_dir, int stop_fd, progress_callback say)
        : wanted_(wanted),
          setup_(setup),
          clones_(setup, private_dir, stop_fd, std::move(say), wanted.internal.faults) {}

    /// The machine to be. `cold`: why it must not be a clone; nullptr: it may be.
    [[nodiscard]] result<machine_source> plan(const cell& one, accelerator accel,
                                              const std::string* cold) {
        machine_source source;
        if (!one.has_machine())
            return source;
        if (cold != nullptr)
            source.clone.why_cold = *cold;
        else
            source.clone = clones_.plan_for(one, accel);
        source.machine = source.clone.machine;
        if (!source.is_clone())
            if (auto booting = boot(one, accel, source); !booting)
                return std::move(booting).error();
        return source;
    }

    /// A clone that can be started at once, because this run has had its template before.
    [[nodiscard]] std::optional<machine_source> ready_clone(const cell& one, accelerator accel) {
        machine_source source;
        source.clone = clones_.plan_for(one, accel);
        if (!source.is_clone() || !clones_.attach_known(source.clone))
            return std::nullopt;
        source.machine = source.clone.machine;
        return source;
    }

    /// Makes it the machine that is started, now that its share of the host is there: a template that
    /// has to be booted takes as much. `notes`: what the report should say of it.
    [[nodiscard]] result<void> complete(const cell& one, const reservation& share,
                                        machine_source& source, std::vector<std::string>& notes) {
        if (source.is_clone()) {
            const auto accel = source.machine->accel;
            if (clones_.attach(source.clone)) {
                source.machine = source.clone.machine;
                return {};
            }
            if (stop_signal::received() != 0)
                return plain_error("make a template for", one.name, "the run was stopped");
            if (auto booting = boot(one, accel, source); !booting)
                return booting;
        }
        if (source.machine && one.spec().performance_mode && !wanted_.internal.no_mask) {
            source.parts.host_nodes = share.plan().nodes;
            source.machine = build_machine(setup_, one, source.parts, &notes);
        }
        return {};
    }

    /// See clone_sources.
    void expect(const cell_list& cells, bool repeated) { clones_.expect(cells, repeated); }
    void was_attached(const machine_source& source) { clones_.was_attached(source.clone); }
    [[nodiscard]] std::string distrust_attached(machine_source& source, const std::string& what) {
        return clones_.distrust_attached(source.clone, what);
    }
    [[nodiscard]] std::string distrust(machine_source& source, const std::string& what) {
        return clones_.distrust(source.clone, what);
    }
    [[nodiscard]] std::string trust(const machine_source& source) {
        return clones_.trust(source.clone);
    }

private:
    /// Makes it a machine that boots.
    [[nodiscard]] result<void> boot(const cell& one, accelerator accel, machine_source& source) {
        auto archive = initramfs_for(setup_, one, {});
        if (!archive)
            return std::move(archive).error();
        source.parts = {.accel = accel,
                        .verbose = wanted_.verbose,
                        .archive = archive->path,
                        .archive_size = archive->size};
        source.machine = build_machine(setup_, one, source.parts);
        // As long as this run is there, no other one evicts it.
        const std::lock_guard lock(mutex_);
        archives_.push_back(std::move(*archive));
        return {};
    }

    const options& wanted_;
    const run_setup& setup_;
    clone_sources clones_;
    std::mutex mutex_;
    std::vector<initramfs> archives_;
};

}  // namespace ktstr::host
