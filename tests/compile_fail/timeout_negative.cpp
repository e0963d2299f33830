// EXPECT: KTSTR_TEST: timeout must be positive
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, timeout = -1s) {}
