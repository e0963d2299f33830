// EXPECT: KTSTR_TEST: too many items in this list, 16 fit
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t, tags = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
                      "14", "15", "16"}) {}
