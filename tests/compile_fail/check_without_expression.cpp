// EXPECT-GCC: error:
// EXPECT-CLANG: error:
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t) {
    KTSTR_CHECK();
}
