// EXPECT: KTSTR_TEST: cpu_budget must be at least 1
// EXPECT-GCC: cpu_budget_is_at_least_one<0>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, no_perf_mode, cpu_budget = 0) {}
