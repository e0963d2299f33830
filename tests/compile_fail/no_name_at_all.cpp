// EXPECT: KTSTR_TEST: the first argument is the test's name, a plain identifier
#include <ktstr/ktstr.hpp>

KTSTR_TEST() {}
