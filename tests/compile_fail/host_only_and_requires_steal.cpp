// EXPECT: KTSTR_TEST: host_only and requires_steal exclude each other
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, host_only, requires_steal) {}
