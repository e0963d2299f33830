// EXPECT: KTSTR_TEST: each of topologies is written like
// EXPECT-GCC: topologies_are_written_like_1n2l4c1t<1>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = {"1n2l4c1t", "2l4c"}) {}
