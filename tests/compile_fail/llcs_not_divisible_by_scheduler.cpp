// EXPECT: KTSTR_TEST: llcs must be a multiple of numa_nodes
// EXPECT-GCC: llcs_divide_evenly_among_numa_nodes<3, 2>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler wide{.name = "wide", .binary = "wide", .numa_nodes = 2, .llcs = 4};

KTSTR_TEST(t, scheduler = wide, llcs = 3) {}
