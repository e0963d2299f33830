// SPDX-License-Identifier: MIT
// The library behind the part of part_of_guest.cpp.
#include <cstdlib>

void ktstr_part_remember(const char* value);
void ktstr_part_remember(const char* value) {
    ::setenv("KTSTR_TEST_PART", value, 1);
}
