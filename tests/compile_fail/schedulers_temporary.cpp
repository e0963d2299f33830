// EXPECT: KTSTR_TEST: this key refers to an object, so the object needs a name
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, schedulers = {ktstr::scheduler{.name = "a", .binary = "a"}, ktstr::eevdf}) {}
