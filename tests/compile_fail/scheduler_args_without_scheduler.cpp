// EXPECT: KTSTR_TEST: scheduler_args requires a scheduler
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, scheduler_args = {"--slice-us", "20000"}) {}
