// EXPECT: KTSTR_TEST: llcs * cores * threads must be at most 252
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler large{.name = "large", .binary = "large", .llcs = 100, .cores = 4};

KTSTR_TEST(t, schedulers = {ktstr::eevdf, large}) {}
