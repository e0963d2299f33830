// EXPECT: KTSTR_TEST: host_only and schedulers exclude each other
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};

KTSTR_TEST(t, host_only, schedulers = {demo, ktstr::eevdf}) {}
