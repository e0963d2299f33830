// EXPECT: KTSTR_TEST: too many items in this list, 16 fit
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "demo"};

KTSTR_TEST(t, schedulers = {demo, demo, demo, demo, demo, demo, demo, demo, demo, demo, demo, demo,
                            demo, demo, demo, demo, demo}) {}
