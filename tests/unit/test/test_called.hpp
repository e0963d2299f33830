// SPDX-License-Identifier: MIT
// One of this program's own tests, by its name.
#pragma once

#include <ktstr/ktstr.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string_view>

inline const ktstr::test_case& test_called(std::string_view name) {
    const ktstr::test_case* found = nullptr;
    for (const ktstr::test_case* test : ktstr::registered_tests())
        if (test->name == name)
            found = test;
    REQUIRE(found != nullptr);
    return *found;
}
