// EXPECT: KTSTR_TEST: host_only and cpu_budget exclude each other
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, host_only, no_perf_mode, cpu_budget = 1) {}
