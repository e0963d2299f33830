// SPDX-License-Identifier: MIT
// Numbers of single workers through range-v3: a result is a range of steps, a step of cgroups, a
// cgroup of workers. std::ranges does the same. Nothing is brought in by `using namespace ktstr`.
#include <ktstr/ktstr.hpp>

#include <range/v3/algorithm/minmax.hpp>
#include <range/v3/numeric/accumulate.hpp>
#include <range/v3/view/filter.hpp>
#include <range/v3/view/transform.hpp>

using namespace std::chrono_literals;

KTSTR_TEST(no_worker_is_left_behind, llcs = 2, cores = 2, duration = 2s) {
    const auto result = execute_steps(
        ctx, {{.setup = {ctx.cgroup_def("few").workers(1), ctx.cgroup_def("many").workers(5)}}});

    for (const auto& cgroup : result.steps[0]) {
        KTSTR_INFO("cgroup {}", cgroup.name());
        const auto times =
            cgroup.workers() | ranges::views::transform(&ktstr::worker_report::cpu_time);
        const auto [least, most] = ranges::minmax(times);
        KTSTR_CHECK(least > 0ns, "the busiest worker ran {}", most);
        KTSTR_CHECK(ranges::accumulate(times, 0ns) == cgroup.cpu_time());
        KTSTR_CHECK(cgroup.share() > 0);
    }

    const auto here = ctx.topology().cpus_in_llc(1);
    for (const int cpu : here | ranges::views::filter([](int c) { return c % 2 == 1; }))
        KTSTR_CHECK(ctx.topology().llc_of(cpu) == 1, "CPU {}", cpu);
}
