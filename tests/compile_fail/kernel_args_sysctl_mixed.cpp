// EXPECT: KTSTR_TEST: kernel_args may not set quiet, loglevel=, printk.*
// EXPECT-GCC: kernel_args_leave_alone_what_ktstr_sets<ktstr::detail::reserved::loglevel, 0>
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, kernel_args = {"sysctl.kernel/printk=1"}) {}
