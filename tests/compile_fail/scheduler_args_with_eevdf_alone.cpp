// EXPECT: KTSTR_TEST: scheduler_args requires a scheduler
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, scheduler = ktstr::eevdf, scheduler_args = {"-v"}) {}
