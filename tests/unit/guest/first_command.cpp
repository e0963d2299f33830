// SPDX-License-Identifier: MIT
// The command that a template runs before it rests, as the host writes it down.
#include <ktstr/guest/first_command.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace ktstr::guest;
using words = std::vector<std::string>;

TEST_CASE("environment, an empty line, arguments", "[first-command]") {
    const auto usual = parse_first_command("PATH=/bin\nHOME=/root\n\n/init\n--filter\na b\n");
    CHECK(usual.environment == words{"PATH=/bin", "HOME=/root"});
    CHECK(usual.arguments == words{"/init", "--filter", "a b"});
    const auto bare = parse_first_command("\n/init\n\n--last");
    CHECK(bare.environment.empty());
    CHECK(bare.arguments == words{"/init", "", "--last"});
    CHECK(parse_first_command("").arguments.empty());
    CHECK(parse_first_command("PATH=/bin").arguments.empty());
    CHECK(parse_first_command("PATH=/bin\n\n").arguments.empty());
}
