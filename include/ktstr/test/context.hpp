// SPDX-License-Identifier: MIT
// What a test's body sees as `ctx`: its machine, its time, its seed, and the words to describe a
// workload with. Light on purpose: the deeds behind it live in guest/.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/check/metric.hpp>
#include <ktstr/scenario/cgroup.hpp>
#include <ktstr/test/scheduler_handle.hpp>
#include <ktstr/topology/topology.hpp>

#include <cstdint>
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

namespace detail {
// Defined on the guest's side (guest/body.hpp).
void report_metric(const metric_record& metric);
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

    /// The scheduler under test, see scheduler_handle: `ctx.scheduler().enabled()`.
    [[nodiscard]] scheduler_handle scheduler() const { return scheduler_handle(data_.dilation); }

    /// Tells a number that every report shows beside the verdict and that changes no verdict:
    /// `ctx.metric("wakeups_per_s", 123.4, "1/s", better::higher)`. Names are of [a-z0-9_./]. May be called from
    /// any thread and from forked children; what was told before a crash is kept. A name or a value that is no
    /// metric's, and more than a hundred in a test, are left out, and a note says so.
    void metric(std::string_view name, double value, std::string_view unit = {},
                ktstr::better which = ktstr::better::neither) const {
        detail::report_metric({name, value, unit, which});
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
