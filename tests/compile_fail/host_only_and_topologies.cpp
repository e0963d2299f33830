// EXPECT: KTSTR_TEST: host_only and topologies exclude each other
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, host_only, topologies = {"1n2l4c1t"}) {}
