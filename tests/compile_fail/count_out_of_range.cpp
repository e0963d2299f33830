// EXPECT: KTSTR_TEST: this number is out of range
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, llcs = 5000000000) {}
