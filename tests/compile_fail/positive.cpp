// COMPILES
// The other files prove that faults are found; this one proves that a file in order is left alone,
// so that the runner itself can be seen to tell the two apart.
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{
    .name = "demo", .binary = "scx_demo", .args = {}, .numa_nodes = 2, .llcs = 4};
constexpr int four = 4;

KTSTR_TEST(plain) {}
KTSTR_TEST(every_key, tags = {"smoke", "numa"}, kernel_args = {"nokaslr", "isolcpus=1"},
           scheduler_args = {"--slice-us", "20000"}, scheduler = demo, numa_nodes = 2, llcs = four,
           cores = 4u, threads = 2L, memory_mib = 1024, duration = 5s, timeout = 1min,
           cpu_budget = 2, no_perf_mode, performance_mode = false, requires_steal,
           requires_kvm = true, host_only = false, expect_fail) {}
KTSTR_TEST(largest, llcs = 14, cores = 9, threads = 2) {}
KTSTR_TEST(budget_of_all, llcs = 2, cores = 4, no_perf_mode, cpu_budget = 8) {}
KTSTR_TEST(steal_without_budget, requires_steal) {}
KTSTR_TEST(limit_below_the_default_duration, timeout = 5s) {}
KTSTR_TEST(limit_equals_duration, duration = 5s, timeout = 5000ms) {}
KTSTR_TEST(one_tag, tags = "smoke", kernel_args = "init_on_alloc=1") {}
KTSTR_TEST(no_tags, tags = {}) {}
KTSTR_TEST(two_topologies, topologies = {"1n2l4c1t", "2n14l9c2t"}, no_perf_mode, cpu_budget = 8) {}
KTSTR_TEST(one_topology, topologies = "1n2l4c1t") {}
KTSTR_TEST(two_schedulers, schedulers = {demo, ktstr::eevdf}, llcs = 2, scheduler_args = {"-v"},
           fresh_scheduler) {}
KTSTR_TEST(one_scheduler, schedulers = demo, threads = 2) {}
KTSTR_TEST(no_lists, schedulers = {}, topologies = {}, cores = 2) {}
KTSTR_TEST(kernels_own, scheduler = ktstr::eevdf) {}
KTSTR_TEST(on_the_host, host_only, tags = {"host"}) {}
