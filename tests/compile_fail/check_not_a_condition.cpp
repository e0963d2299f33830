// EXPECT-GCC: error: invalid 'static_cast' from type 'const opaque' to type 'bool'
// EXPECT-CLANG: error:
#include <ktstr/ktstr.hpp>

struct opaque {};

KTSTR_TEST(t) {
    KTSTR_CHECK(opaque{});
}
