// SPDX-License-Identifier: MIT
// What was counted of a step's workers, as metrics: of each cgroup together, and of each phase of its work where there are
// several. Percentiles are those of the merged histograms. Not the result that the body gets: that has each worker. Guest
// side.
#pragma once

#include <ktstr/check/metric.hpp>
#include <ktstr/scenario/report.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace ktstr::guest {

namespace detail {

/// Metrics' names have fewer characters than cgroups' have, and an end.
[[nodiscard]] inline std::string metric_name_of(std::string_view cgroup) {
    std::string name(cgroup.substr(0, 28));
    for (char& c : name) {
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
        else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                   c == '/'))
            c = '_';
    }
    return name;
}

class account_teller {
public:
    account_teller(std::string prefix, const std::function<void(const wire::metric&)>& sink)
        : prefix_(std::move(prefix)), sink_(sink) {}

    void tell(const work_account& a) const {
        put("iterations", a.iterations, "", better::higher);
        put("wall_time", measured_time(a.wall_time), better::neither);
        put("cpu_time", measured_time(a.cpu_time), better::neither);
        put("run_delay", a.run_delay, better::lower);
        put("migrations", a.migrations, better::neither);
        put("voluntary_switches", a.voluntary_switches, better::neither);
        put("involuntary_switches", a.involuntary_switches, better::neither);
        put("cpus_used", static_cast<std::uint64_t>(a.cpus.count()), "", better::neither);
        if (a.deadlines > 0) {
            put("deadlines", a.deadlines, "", better::neither);
            put("missed_deadlines", a.missed_deadlines, "", better::lower);
        }
        put("iteration_time", a.iteration_time, better::lower);
        put("wake_latency", a.wake_latency, better::lower);
        for (std::size_t node = 0; node < a.pages_on_node.size(); ++node)
            put(("pages_on_node" + std::to_string(node)).c_str(), a.pages_on_node[node], "pages",
                better::neither);
    }

private:
    void send(const std::string& name, double value, const char* unit, better which) const {
        sink_({.name = prefix_ + name,
               .value = value,
               .unit = unit,
               .better = which,
               .of_workers = true});
    }
    // What the kernel did not say is not told.
    void put(const char* name, double value, better which, const char* unit = "") const {
        if (value == value)
            send(name, value, unit, which);
    }
    void put(const char* name, measured_time time, better which) const {
        put(name, time.count() / 1e9, which, "s");
    }
    void put(const char* name, std::uint64_t value, const char* unit, better which) const {
        send(name, static_cast<double>(value), unit, which);
    }
    void put(const std::string& name, const histogram& h, better which) const {
        if (h.empty())
            return;
        send(name + "/samples", static_cast<double>(h.count()), "", better::neither);
        send(name + "/p50", h.percentile(50).count() / 1e3, "us", which);
        send(name + "/p99", h.percentile(99).count() / 1e3, "us", which);
        send(name + "/max", h.max().count() / 1e3, "us", which);
    }

    std::string prefix_;
    const std::function<void(const wire::metric&)>& sink_;
};

}  // namespace detail

/// Names are "step0/load/iterations", and "step0/load/phase1/iterations" of work with phases.
inline void tell_metrics(std::size_t step, const step_result& result,
                         const std::function<void(const wire::metric&)>& sink) {
    for (const auto& cgroup : result) {
        const auto prefix =
            "step" + std::to_string(step) + '/' + detail::metric_name_of(cgroup.name()) + '/';
        if (cgroup.empty())
            continue;
        detail::account_teller(prefix, sink).tell(cgroup.account());
        std::size_t phases = 0;
        for (const auto& w : cgroup)
            phases = std::max(phases, w.phases.size());
        for (std::size_t i = 0; phases > 1 && i < phases; ++i)
            detail::account_teller(prefix + "phase" + std::to_string(i) + '/', sink)
                .tell(cgroup.phase(i));
    }
}

}  // namespace ktstr::guest
