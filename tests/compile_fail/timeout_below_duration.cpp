// EXPECT: KTSTR_TEST: timeout must not be shorter than duration
// EXPECT-GCC: timeout_covers_duration<5000, 10000>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, duration = 10s, timeout = 5s) {}
