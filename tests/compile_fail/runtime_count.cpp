// EXPECT-GCC: the value of 'how_many' is not usable in a constant expression
// EXPECT-CLANG: read of non-const variable 'how_many' is not allowed in a constant expression
#include <ktstr/ktstr.hpp>

int how_many = 3;

KTSTR_TEST(t, llcs = how_many) {}
