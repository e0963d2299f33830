// EXPECT: as many values as {} in the text
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t) {
    KTSTR_CHECK(1 == 2, "a {} and {}", 1);
}
