// EXPECT: KTSTR_TEST: llcs * cores * threads must be at most 252
// EXPECT-GCC: vcpus_fit_in_one_machine<256, 252>
// EXPECT-CLANG: 256LL <= 252
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, llcs = 16, cores = 8, threads = 2) {}
