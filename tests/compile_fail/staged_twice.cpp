// EXPECT: KTSTR_TEST: each of staged has a name that no other scheduler of the test has
// EXPECT-GCC: staged_have_names_of_their_own<1>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};
constexpr ktstr::scheduler other{.name = "demo", .binary = "other"};
constexpr ktstr::scheduler third{.name = "third", .binary = "third"};

KTSTR_TEST(t, scheduler = demo, staged = {third, other}) {}
