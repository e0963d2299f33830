// EXPECT: KTSTR_TEST: the same key is given twice
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, tags = {"a"}, tags = {"b"}) {}
