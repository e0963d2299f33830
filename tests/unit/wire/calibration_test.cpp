// SPDX-License-Identifier: MIT
#include <ktstr/wire/calibration.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>

using namespace ktstr::wire::detail;

TEST_CASE("the calibration's instructions compute what its words say", "[calibration]") {
    calibration_table by_words{}, by_instructions{};
    std::uint64_t words = 88172645463325252U, instructions = words;
    for (int i = 0; i < 3; ++i) {
        words = calibration_in_words(by_words, words);
        instructions = calibration_run(by_instructions, instructions);
        CHECK(words == instructions);
        CHECK(by_words == by_instructions);
    }
}
