#include <ktstr/ktstr.hpp>

#include <cstdint>
#include <fstream>
#include <string>

using namespace ktstr;
using namespace std::chrono_literals;

// Aggregate steal time in USER_HZ ticks: the 8th value of /proc/stat's `cpu` line.
static std::uint64_t steal_ticks() {
    std::ifstream stat("/proc/stat");
    std::string label;
    std::uint64_t value = 0;
    stat >> label;
    for (int field = 1; field <= 8; ++field) stat >> value;
    return value;
}

KTSTR_TEST(cpu_budget_overcommit_accrues_guest_steal,
           llcs = 2, cores = 4, threads = 1, no_perf_mode, cpu_budget = 2, duration = 5s, requires_steal) {
    KTSTR_REQUIRE(ctx.topology().total_cpus() == 8);

    auto const before = steal_ticks();
    execute_steps(ctx, {step{.setup = {ctx.cgroup_def("load").workers(8).work(spin_wait{})},
                             .hold = hold::full}});
    auto const after = steal_ticks();

    KTSTR_CHECK(after > before);
}
