// EXPECT: KTSTR_TEST: each of schedulers has a name of letters, digits
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "a/demo", .binary = "demo"};

KTSTR_TEST(t, schedulers = {demo, ktstr::eevdf}) {}
