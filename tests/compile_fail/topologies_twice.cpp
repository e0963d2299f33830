// EXPECT: KTSTR_TEST: the same topology is given twice in topologies
// EXPECT-GCC: topologies_differ<2>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = {"1n2l4c1t", "1n1l2c1t", "1n2l4c1t"}) {}
