// EXPECT: KTSTR_TEST: staged requires a scheduler with a program, which the test begins with
// EXPECT-GCC: staged_requires_scheduler<true, false>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};

KTSTR_TEST(t, staged = {demo}) {}
