// EXPECT: KTSTR_TEST: a scheduler that the kernel has built in has both enable and disable, and no binary
// EXPECT-GCC: built_in_schedulers_come_and_go<false>
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler demo{.name = "demo", .binary = "", .enable = {"/a=1"}};

KTSTR_TEST(t, scheduler = demo) {}
