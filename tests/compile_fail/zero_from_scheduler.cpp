// EXPECT: KTSTR_TEST: numa_nodes, llcs, cores and threads must be at least 1
// EXPECT-GCC: topology_counts_start_at_one<1, 1, 0, 1>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler odd{.name = "odd", .binary = "odd", .cores = 0};

KTSTR_TEST(t, scheduler = odd) {}
