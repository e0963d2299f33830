// EXPECT: KTSTR_TEST: host_only and performance_mode exclude each other
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, host_only, performance_mode) {}
