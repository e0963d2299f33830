// EXPECT: KTSTR_TEST: memory_mib must be at least 1
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, memory_mib = 0) {}
