// SPDX-License-Identifier: MIT
// A whole scenario: mistakes first, then step after step, every worker's report passed on, nothing
// left behind. Guest side.
#pragma once

#include <ktstr/guest/scenario/above_scheduler.hpp>
#include <ktstr/guest/scenario/step_runner.hpp>
#include <ktstr/guest/scenario/worker_metrics.hpp>
#include <ktstr/scenario/execute.hpp>
#include <ktstr/scenario/mistakes.hpp>
#include <ktstr/test/context.hpp>
#include <ktstr/wire/message.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ktstr::guest {

/// Where every worker's report goes besides the result. The body's process sets it before the body
/// runs; empty, the reports go nowhere else.
[[nodiscard]] inline std::function<void(const wire::worker&)>& worker_sink() {
    static std::function<void(const wire::worker&)> sink;
    return sink;
}

/// Where what was counted of the workers goes, besides the result. In the same way.
[[nodiscard]] inline std::function<void(const wire::metric&)>& worker_metric_sink() {
    static std::function<void(const wire::metric&)> sink;
    return sink;
}

/// The cgroup beneath which scenarios make theirs; empty: this process's own. A test of the
/// harness sets it, everybody else has no reason to.
[[nodiscard]] inline std::string& scenario_cgroup_parent() {
    static std::string parent;
    return parent;
}

namespace detail {

/// Why this worker fails its test, or "". One that nobody gave any time need not have worked.
[[nodiscard]] inline std::string fault_of(const worker_report& w, std::chrono::nanoseconds hold) {
    if (!w.completed)
        return w.exit_status;
    if (w.iterations == 0 && hold > std::chrono::nanoseconds::zero())
        return "it never did one turn of its work";
    return {};
}

inline void emit(const context& ctx, std::uint32_t at, const step& step,
                 const step_result& result) {
    if (!worker_sink())
        return;
    for (std::size_t c = 0; c < result.cgroups().size(); ++c) {
        const auto& cgroup = result.cgroups()[c];
        std::uint32_t index = 0;
        for (const auto& w : cgroup.workers())
            worker_sink()({.step = at,
                           .cgroup = cgroup.name(),
                           .index = index++,
                           .pid = static_cast<std::uint32_t>(w.pid),
                           .iterations = w.iterations,
                           .wall_ns = static_cast<std::uint64_t>(w.wall_time.count()),
                           .cpu_ns = static_cast<std::uint64_t>(w.cpu_time.count()),
                           .completed = w.completed,
                           .exit_text = w.exit_status,
                           .fault = step.setup[c].may_fail
                                        ? ""
                                        : fault_of(w, step.hold.length(ctx.duration()))});
    }
}

}  // namespace detail

/// What execute_steps() is for test bodies; inline, so that tests of the harness can call it.
[[nodiscard]] inline scenario_result run_scenario(const context& ctx,
                                                  const std::vector<step>& steps) {
    if (auto mistake = mistake_in(steps); !mistake.empty())
        throw scenario_error(mistake, scenario_error::cause::mistake_in_test);
    scenario_result result;
    if (steps.empty())
        return result;
    const above_scheduler undisturbed;
    const auto& parent = scenario_cgroup_parent();
    step_runner runner(ctx, parent.empty() ? std::nullopt : std::optional(parent));
    for (const auto& step : steps) {
        result.steps.push_back(runner.run(step));
        // Before the cgroups are removed: what was measured counts, whatever happens then.
        detail::emit(ctx, static_cast<std::uint32_t>(result.steps.size() - 1), step,
                     result.steps.back());
        if (worker_metric_sink())
            tell_metrics(result.steps.size() - 1, result.steps.back(), worker_metric_sink());
        runner.clear_step();
    }
    runner.finish();
    return result;
}

}  // namespace ktstr::guest
