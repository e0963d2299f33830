// EXPECT: KTSTR_TEST: each of kernel_args is one word
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, kernel_args = {"nokaslr panic=0"}) {}
