// EXPECT: KTSTR_TEST: wrong type of value for this key
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = 2) {}
