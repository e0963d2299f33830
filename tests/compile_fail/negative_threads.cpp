// EXPECT: KTSTR_TEST: numa_nodes, llcs, cores and threads must be at least 1
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, threads = -1) {}
