// SPDX-License-Identifier: MIT
// What a test's body sees as `ctx`: its machine, its time, its seed, and the words to describe a
// workload with. Light on purpose: the deeds behind it live in guest/.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/base/result.hpp>
#include <ktstr/scenario/cgroup.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ktstr {

/// Everything a context is made of. The guest fills it before it calls the body.
struct context_data {
    ktstr::topology topology{};
    std::chrono::milliseconds duration{};
    std::uint64_t seed = 0;
    std::string test_name{};
    double dilation = 1.0;
};

/// What is known of the scheduler that runs the machine.
struct scheduler_state {
    std::string state{};  ///< the kernel's word: "enabled", "disabled"; empty: it has no sched_ext
    std::string name{};   ///< of the BPF scheduler that is attached; empty: none is
    std::optional<int>
        pid{};  ///< of the process that the test's `scheduler` started, while it lives
};

namespace detail {
/// Defined on the guest's side (guest/body.hpp).
result<scheduler_state> ask_scheduler_state(std::chrono::milliseconds limit);
}  // namespace detail

class context {
public:
    explicit context(context_data data) : data_(static_cast<context_data&&>(data)) {}
    context(const context&) = delete;
    context& operator=(const context&) = delete;

    /// The machine the body runs on, already compared with what the guest kernel says.
    [[nodiscard]] const ktstr::topology& topology() const { return data_.topology; }
    /// The workload time the test asked for; `hold::full` lasts that long.
    [[nodiscard]] std::chrono::milliseconds duration() const { return data_.duration; }
    /// Seeds every random choice; the same number gives the same choices.
    [[nodiscard]] std::uint64_t seed() const { return data_.seed; }
    [[nodiscard]] std::string_view test_name() const { return data_.test_name; }
    /// How many times slower than the host this machine computes; 1 under KVM, 10 to 20 emulated.
    [[nodiscard]] double dilation() const { return data_.dilation; }

    /// Asks the agent, which started the scheduler under test, for its state. May be called from any
    /// thread and from forked children. An error, not a wait, when nobody answers.
    [[nodiscard]] result<scheduler_state> scheduler() const {
        return detail::ask_scheduler_state(
            std::chrono::milliseconds(static_cast<long>(5000 * data_.dilation)));
    }

    /// Starts the description of a cgroup: `ctx.cgroup_def("load").workers(8).work(spin_wait{})`.
    [[nodiscard]] ktstr::cgroup_def cgroup_def(std::string_view name) const {
        ktstr::cgroup_def def;
        def.name = name;
        return def;
    }

private:
    context_data data_;
};

}  // namespace ktstr
