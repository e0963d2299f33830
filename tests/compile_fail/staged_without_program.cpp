// EXPECT: KTSTR_TEST: one of staged has no program that could be attached
// EXPECT-GCC: staged_have_programs<0>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};

KTSTR_TEST(t, scheduler = demo, staged = {ktstr::eevdf}) {}
