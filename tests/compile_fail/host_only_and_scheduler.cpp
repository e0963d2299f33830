// EXPECT: KTSTR_TEST: host_only and scheduler exclude each other
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};

KTSTR_TEST(t, host_only, scheduler = demo) {}
