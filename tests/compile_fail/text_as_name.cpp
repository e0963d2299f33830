// EXPECT-GCC: does not give a valid preprocessing token
// EXPECT-CLANG: invalid preprocessing token
// EXPECT-LINES: 130
#include <ktstr/ktstr.hpp>

KTSTR_TEST("two llcs", llcs = 2) {}
