// EXPECT-GCC: already defined
// EXPECT-CLANG: redefinition of 'ktstr_test_same'
// EXPECT-LINES: 100
#include <ktstr/ktstr.hpp>

namespace a {
KTSTR_TEST(same) {}
}  // namespace a
namespace b {
KTSTR_TEST(same) {}
}  // namespace b
