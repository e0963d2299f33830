// EXPECT-GCC: redefinition of
// EXPECT-CLANG: redefinition of
// EXPECT-LINES: 100
#include <ktstr/ktstr.hpp>

KTSTR_TEST(same) {}
KTSTR_TEST(same) {}
