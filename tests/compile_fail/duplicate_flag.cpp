// EXPECT: KTSTR_TEST: the same key is given twice
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, no_perf_mode, no_perf_mode = false) {}
