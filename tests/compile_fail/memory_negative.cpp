// EXPECT: KTSTR_TEST: memory_mib must be at least 1
// EXPECT-GCC: memory_mib_is_at_least_one<-512>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, memory_mib = -512) {}
