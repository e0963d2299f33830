// EXPECT: KTSTR_TEST: two of schedulers have the same name
// EXPECT-GCC: schedulers_have_different_names<1>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};
constexpr ktstr::scheduler other{.name = "demo", .binary = "other"};

KTSTR_TEST(t, schedulers = {demo, other}) {}
