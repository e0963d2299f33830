// EXPECT: KTSTR_TEST: cpu_budget must not be above the machine's CPUs
// EXPECT-GCC: cpu_budget_within_vcpus<3, 2>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = {"1n2l4c1t", "1n1l2c1t"}, no_perf_mode, cpu_budget = 3) {}
