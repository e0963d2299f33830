// SPDX-License-Identifier: MIT
// What KTSTR_TEST(...) says about a test, as a plain constexpr value. Every member below is a key
// of the macro under the same name; the rules between them are in rules.hpp. Used on both sides.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/base/small_list.hpp>
#include <ktstr/sched/scheduler.hpp>
#include <ktstr/topology/topology.hpp>

#include <optional>
#include <string_view>

namespace ktstr {

/// Whether the text can be one part of a cell's name, as in `test/scx_simple/1n1l4c1t`: not empty, no
/// separator, nothing that a shell, a path or a pattern takes for something else.
[[nodiscard]] constexpr bool can_stand_in_a_name(std::string_view text) {
    for (const char c : text)
        if (!(c == '_' || c == '-' || c == '.' || c == '+' || (c >= '0' && c <= '9') ||
              (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    return !text.empty() && text.front() != '.' && text.front() != '-';
}

struct test_spec {
    using words = small_list<std::string_view, 16>;
    using scheduler_list = small_list<const ktstr::scheduler*, 16>;

    // The machine. Unset: the scheduler's default, else the default of `topology`.
    std::optional<int> numa_nodes{};  ///< each is one socket
    std::optional<int> llcs{};        ///< of the whole machine
    std::optional<int> cores{};       ///< per LLC
    std::optional<int> threads{};     ///< per core
    std::optional<int> memory_mib{};  ///< at least; unset: what the machine needs

    /// Instead of the four above: machines like "1n2l4c1t", and a cell on each.
    words topologies{};

    /// How long the workload runs. Never scaled: a slow machine does less, it does not run longer.
    std::chrono::milliseconds duration = std::chrono::seconds{12};
    /// The body's time limit, before it is scaled to the machine's speed. Unset: `duration` and 30 s.
    std::optional<std::chrono::milliseconds> timeout{};
    /// Host CPUs that all vCPUs together may use. Unset: one for each vCPU. Wants no_perf_mode.
    std::optional<int> cpu_budget{};

    const ktstr::scheduler* scheduler = nullptr;  ///< null: the kernel's own
    scheduler_list schedulers{};                  ///< instead of one: a cell under each
    scheduler_list staged{};                      ///< more of them, for the body to attach
    words scheduler_args{};                       ///< after the scheduler's own arguments
    words kernel_args{};                          ///< added to the guest kernel's command line
    words tags{};                                 ///< for --tag, and the labels of CTest

    /// Says that nothing is concluded from how fast this machine is. It changes nothing by itself:
    /// performance_mode is off unless asked for. But with `cpu_budget` the machine's CPUs wait for each
    /// other, and a test that measured speed there would measure the budget; so a budget has to be
    /// written together with these words.
    bool no_perf_mode = false;
    bool performance_mode = false;  ///< host CPUs, LLCs, memory and priority of its own
    bool requires_steal = false;    ///< skip where the guest has no steal clock
    bool requires_kvm = false;      ///< skip under emulation
    bool host_only = false;         ///< run the body on the host, without a machine
    bool expect_fail = false;       ///< a failed check is the pass, and a pass the failure
    bool no_clone = false;          ///< boot this test's machine cold
    bool fresh_scheduler = false;   ///< attach the scheduler in this test's own machine

    /// The machine this test gets under a scheduler, dimension by dimension: its own word, else the
    /// scheduler's, else the default. `topologies` go before all of it.
    [[nodiscard]] constexpr topology shape_under(const ktstr::scheduler& one) const {
        const topology fallback;
        topology t;
        t.numa_nodes = numa_nodes.value_or(one.numa_nodes.value_or(fallback.numa_nodes));
        t.llcs = llcs.value_or(one.llcs.value_or(fallback.llcs));
        t.cores = cores.value_or(one.cores.value_or(fallback.cores));
        t.threads = threads.value_or(one.threads.value_or(fallback.threads));
        return t;
    }
    [[nodiscard]] constexpr topology shape() const {
        return shape_under(scheduler != nullptr ? *scheduler : eevdf);
    }

    /// The body's time limit: `timeout`, else the workload's time and 30 s to set up and judge.
    [[nodiscard]] constexpr std::chrono::milliseconds body_limit() const {
        return timeout.value_or(duration + std::chrono::seconds{30});
    }
};

}  // namespace ktstr
