// EXPECT: KTSTR_TEST: topologies and any of numa_nodes, llcs, cores and threads exclude each
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = {"1n2l4c1t", "1n1l2c1t"}, cores = 2) {}
