// EXPECT: KTSTR_TEST: duration must be positive
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, duration = 0s) {}
