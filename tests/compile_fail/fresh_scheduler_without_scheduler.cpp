// EXPECT: KTSTR_TEST: fresh_scheduler requires a scheduler
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, fresh_scheduler) {}
