// EXPECT: as many values as {} in the text
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t) {
    KTSTR_REQUIRE(1 == 2, "a {}", 1, 2);
}
