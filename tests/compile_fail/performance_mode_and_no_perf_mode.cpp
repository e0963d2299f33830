// EXPECT: KTSTR_TEST: performance_mode and no_perf_mode exclude each other
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, performance_mode, no_perf_mode) {}
