// EXPECT-GCC: did you mean 'llcs'?
// EXPECT-CLANG: did you mean 'llcs'?
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, lccs = 3) {}
