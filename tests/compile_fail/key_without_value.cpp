// EXPECT: KTSTR_TEST: this key needs a value (key = value)
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, llcs) {}
