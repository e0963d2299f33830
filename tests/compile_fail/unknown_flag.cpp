// EXPECT-GCC: did you mean 'requires_steal'?
// EXPECT-CLANG: did you mean 'requires_steal'?
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, requires_stael) {}
