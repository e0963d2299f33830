// EXPECT: KTSTR_TEST: llcs * cores * threads must be at most 252
// EXPECT-GCC: vcpus_fit_in_one_machine<1000000000, 252>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, llcs = 2000000000, cores = 2000000000, threads = 2000000000) {}
