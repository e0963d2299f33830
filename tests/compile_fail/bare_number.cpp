// EXPECT: KTSTR_TEST: after the name come keys (key = value) and flags
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, 2) {}
