// EXPECT: KTSTR_TEST: llcs * cores * threads must be at most 252
// EXPECT-GCC: vcpus_fit_in_one_machine<256, 252>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, topologies = {"1n2l4c1t", "1n16l16c1t"}) {}
