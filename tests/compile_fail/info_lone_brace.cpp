// EXPECT: as many values as {} in the text
#include <ktstr/ktstr.hpp>

KTSTR_TEST(t) {
    KTSTR_INFO("a {0}", 1);
}
