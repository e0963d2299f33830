// EXPECT-GCC: error: return-statement with a value
// EXPECT-CLANG: should not return a value
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t) {
    return 1;
}
