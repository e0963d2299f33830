// SPDX-License-Identifier: MIT
// Asks in a body whether the part of part_of_guest.cpp is attached. Built with it, and without.
#include <ktstr/ktstr.hpp>
#include <ktstr/test/part.hpp>

#include <cstdlib>
#include <string_view>

KTSTR_TEST(part_in_a_machine, cores = 2, timeout = 20s) {
    const char* const left = std::getenv("KTSTR_TEST_PART");
    KTSTR_CHECK(std::string_view(left != nullptr ? left : "nothing") == "part_in_a_machine");
}

KTSTR_TEST(part_on_the_host, host_only) {
    const char* const left = std::getenv("KTSTR_TEST_PART");
    KTSTR_CHECK(std::string_view(left != nullptr ? left : "nothing") == "part_on_the_host");
}

KTSTR_TEST(parts_counted, host_only) {
    ctx.metric("parts", static_cast<double>(ktstr::attached_parts().size()));
}
