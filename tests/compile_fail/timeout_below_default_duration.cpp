// EXPECT: KTSTR_TEST: timeout must not be shorter than duration
// EXPECT-GCC: timeout_covers_duration<5000, 12000>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, timeout = 5s) {}
