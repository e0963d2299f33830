// EXPECT: KTSTR_TEST: numa_nodes, llcs, cores and threads must be at least 1
// EXPECT-GCC: topology_counts_start_at_one<0, 1, 2, 1>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, numa_nodes = 0) {}
