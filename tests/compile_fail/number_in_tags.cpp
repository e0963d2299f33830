// EXPECT-GCC: no match for 'operator='
// EXPECT-CLANG: no viable overloaded '='
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, tags = {"smoke", 7}) {}
