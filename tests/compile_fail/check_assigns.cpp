// EXPECT-GCC: use of deleted function
// EXPECT-CLANG: deleted operator
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t) {
    int a = 1;
    KTSTR_CHECK(a = 2);
}
