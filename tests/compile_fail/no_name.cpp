// EXPECT: KTSTR_TEST: the first argument is the test's name, a plain identifier
// EXPECT-LINES: 130
#include <ktstr/ktstr.hpp>

KTSTR_TEST(llcs = 2, cores = 4) {}
