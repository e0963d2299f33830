// EXPECT: KTSTR_TEST: llcs must be a multiple of numa_nodes
// EXPECT-GCC: llcs_divide_evenly_among_numa_nodes<3, 2>
// EXPECT-CLANG: 3 % 2 == 0
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, numa_nodes = 2, llcs = 3) {}
