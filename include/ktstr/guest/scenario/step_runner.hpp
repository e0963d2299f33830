// SPDX-License-Identifier: MIT
// Carries out steps: makes their cgroups, fills them with workers, holds, stops, collects. What
// lasts longer than a step (the cgroup tree, later a backdrop) lives in the runner. Its steps are
// known to have no mistakes. Guest side.
#pragma once

#include <ktstr/guest/cgroup/cgroup_tree.hpp>
#include <ktstr/guest/work/worker_team.hpp>
#include <ktstr/linux/own_cgroup.hpp>
#include <ktstr/scenario/execute.hpp>
#include <ktstr/test/context.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::guest {

/// Times after which the harness gives up on something that takes no time on a healthy machine.
/// They scale with dilation, unlike the hold.
struct scenario_limits {
    std::chrono::milliseconds ready{30'000};
    std::chrono::milliseconds stop{5'000};
    std::chrono::milliseconds removal{10'000};

    [[nodiscard]] static scenario_limits scaled(double dilation) {
        const double factor = std::max(1.0, dilation);
        const auto times = [factor](std::chrono::milliseconds t) {
            return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(
                static_cast<double>(t.count()) * factor));
        };
        const scenario_limits plain;
        return {times(plain.ready), times(plain.stop), times(plain.removal)};
    }
};

class step_runner {
public:
    /// `cgroup_parent`: the cgroup to work beneath; this process's own when absent.
    step_runner(const context& ctx, std::optional<std::string> cgroup_parent)
        : ctx_(ctx),
          limits_(scenario_limits::scaled(ctx.dilation())),
          cgroup_parent_(std::move(cgroup_parent)) {}

    /// Throws scenario_error.
    [[nodiscard]] step_result run(const step& step) {
        for (const auto& change : step.ops)
            std::visit([this](const auto& op) { apply(op); }, change);

        // Outlives the team, so that the workers are dead before their cgroups are removed.
        std::vector<std::string> step_local;
        auto team = make_team(step);
        for (const auto& def : step.setup) {
            make_cgroup(def);
            step_local.push_back(def.name);
        }
        for (const auto& def : step.setup)
            fill_cgroup(def, team);
        if (!team.wait_until_ready(worker_team::clock::now() + limits_.ready))
            throw scenario_error("the workers did not come up within " +
                                 std::to_string(limits_.ready.count()) +
                                 " ms; the scheduler may not be running them at all");

        usage_list usage_before;
        const auto begin = team.release([&] { usage_before = usage_of(step); });
        team.watch_until(begin + step.hold.length(ctx_.duration()));
        const auto held = worker_team::clock::now() - begin;
        usage_list usage_after;
        team.stop(limits_.stop, [&] { usage_after = usage_of(step); });

        leftovers_ = std::move(step_local);
        return gather(step, held, team.reports(), usage_before, usage_after);
    }

    /// Removes the cgroups of the step that run() has carried out last.
    void clear_step() {
        while (!leftovers_.empty()) {
            require(tree_->remove(leftovers_.back()));
            leftovers_.pop_back();
        }
    }

    /// Removes everything. The destructor does it too, but can't say that it failed.
    void finish() {
        if (tree_)
            require(tree_->remove_all());
        tree_.reset();
    }

private:
    using usage_list = std::vector<std::optional<std::chrono::nanoseconds>>;

    void apply(const no_op&) {}

    static void require(const result<void>& done) {
        if (!done)
            throw scenario_error(done.error().message());
    }

    [[nodiscard]] static worker_team make_team(const step& step) {
        std::size_t workers = 0;
        std::size_t phases = 0;
        for (const auto& def : step.setup)
            for (const auto& group : def.resolved_groups()) {
                workers += static_cast<std::size_t>(*group.workers);
                phases += static_cast<std::size_t>(*group.workers) *
                          std::max<std::size_t>(1, group.phases.size());
            }
        auto team = worker_team::make(workers, phases);
        if (!team)
            throw scenario_error(team.error().message());
        return *std::move(team);
    }

    // Late: a scenario without cgroups works without cgroup v2.
    [[nodiscard]] cgroup_tree& tree() {
        if (!tree_) {
            auto parent = cgroup_parent_;
            if (!parent) {
                auto own = find_own_cgroup();
                if (!own)
                    throw scenario_error(own.error().message());
                parent = std::move(own->directory);
            }
            auto made = cgroup_tree::make_for_scenario(*parent);
            if (!made) {
                auto fault = made.error();
                if (fault.code == EACCES || fault.code == EPERM || fault.code == EROFS)
                    fault.hint =
                        "run as root, or in a cgroup of your own: "
                        "systemd-run --user --scope -p Delegate=yes PROGRAM";
                throw scenario_error(fault.message());
            }
            tree_ = std::make_unique<cgroup_tree>(*std::move(made));
            tree_->set_removal_limit(limits_.removal);
        }
        return *tree_;
    }

    // The cpu controller makes a cgroup a scheduling entity; without it the scheduler would not
    // see the cgroups at all. Where a machine does not offer it, the test still runs.
    void make_cgroup(const cgroup_def& def) { require(tree().create(def.name, {{"cpu", false}})); }

    void fill_cgroup(const cgroup_def& def, worker_team& team) {
        const auto groups = def.resolved_groups();
        for (std::size_t g = 0; g < groups.size(); ++g) {
            for (int i = 0; i < *groups[g].workers; ++i) {
                auto pid = team.spawn({def.name, static_cast<int>(g), i}, groups[g]);
                if (!pid)
                    throw scenario_error(pid.error().message());
                // A worker that is dead already is in the report; it needs no place.
                if (auto moved = tree().move_in(def.name, *pid);
                    !moved && moved.error().code != ESRCH)
                    require(moved);
            }
        }
    }

    // What the kernel has counted for each of the step's cgroups until now.
    [[nodiscard]] usage_list usage_of(const step& step) {
        usage_list all;
        for (const auto& def : step.setup) {
            const auto text = tree().read(def.name, "cpu.stat");
            std::uint64_t us = 0;
            if (text && detail::number_of(*text, "usage_usec", us))
                all.emplace_back(std::chrono::microseconds(static_cast<std::int64_t>(us)));
            else
                all.emplace_back();
        }
        return all;
    }

    [[nodiscard]] static step_result gather(const step& step, std::chrono::nanoseconds held,
                                            std::vector<worker_report> reports,
                                            const usage_list& before, const usage_list& after) {
        std::vector<cgroup_report> cgroups;
        for (std::size_t c = 0; c < step.setup.size(); ++c) {
            const auto& def = step.setup[c];
            std::vector<worker_report> workers;
            for (auto& report : reports)
                if (report.cgroup == def.name)
                    workers.push_back(std::move(report));
            cgroups.emplace_back(def.name, std::move(workers));
            if (before[c] && after[c])
                cgroups.back().set_kernel_cpu_time(*after[c] - *before[c]);
        }
        return {held, std::move(cgroups)};
    }

    const context& ctx_;
    scenario_limits limits_;
    std::optional<std::string> cgroup_parent_;
    std::unique_ptr<cgroup_tree> tree_;
    std::vector<std::string> leftovers_;
};

}  // namespace ktstr::guest
