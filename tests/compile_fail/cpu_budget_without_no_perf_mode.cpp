// EXPECT: KTSTR_TEST: cpu_budget requires no_perf_mode
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, cores = 4, cpu_budget = 2) {}
