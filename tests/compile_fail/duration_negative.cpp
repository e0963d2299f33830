// EXPECT: KTSTR_TEST: duration must be positive
// EXPECT-GCC: duration_is_positive<-5000>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, duration = -5s) {}
