// EXPECT: KTSTR_TEST: llcs must be a multiple of numa_nodes
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = {"1n2l4c1t", "2n3l1c1t"}) {}
