// EXPECT: KTSTR_TEST: the same key is given twice
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, llcs = 2, cores = 4, llcs = 4) {}
