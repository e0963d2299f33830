// EXPECT: KTSTR_TEST: kernel_args may not set console=, rdinit=, init= or panic=
// EXPECT-GCC: kernel_args_leave_alone_what_ktstr_sets<ktstr::detail::reserved::init, 1>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, kernel_args = {"nokaslr", "init=/bin/sh"}) {}
