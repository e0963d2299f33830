// EXPECT: KTSTR_TEST: schedulers and scheduler exclude each other
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};

KTSTR_TEST(t, schedulers = {demo, ktstr::eevdf}, scheduler = demo) {}
