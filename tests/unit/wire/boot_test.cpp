// SPDX-License-Identifier: MIT
// What the host writes down for a machine before it boots, and the guest reads there.
#include <ktstr/wire/boot.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace ktstr::wire;
using words = std::vector<std::string>;

TEST_CASE("the words on the kernel's command line are read as they were written", "[boot]") {
    for (const auto& said :
         {boot_words{}, boot_words{.vsock_port = 0}, boot_words{.vsock_port = 4294967295U},
          boot_words{.vsock_port = 9, .template_of = "2n2l4c1t", .distances = {10, 20, 21, 10}},
          boot_words{.template_of = "1n1l1c1t"}}) {
        const auto read = parse_boot_words("console=ttyS0 panic=-1" + to_text(said) + " quiet\n");
        REQUIRE(read);
        CHECK(*read == said);
    }
}

TEST_CASE("a command line that is not the host's is refused with its word", "[boot]") {
    CHECK(parse_boot_words("console=ttyS0\n").error().message().find("ktstr.link=") !=
          std::string::npos);
    CHECK_FALSE(parse_boot_words(""));
    CHECK_FALSE(parse_boot_words("xktstr.link=serial"));
    for (const std::string word :
         {"ktstr.link=", "ktstr.link=tcp", "ktstr.link=vsock:", "ktstr.link=vsock:9x",
          "ktstr.link=vsock:-1", "ktstr.link=vsock:4294967296",
          "ktstr.link=vsock:99999999999999999999999", "ktstr.template=", "ktstr.distances=",
          "ktstr.distances=10,,20", "ktstr.distances=10,x"}) {
        INFO(word);
        const auto read = parse_boot_words("ktstr.link=serial " + word + '\n');
        REQUIRE_FALSE(read);
        CHECK(read.error().message().find(word) != std::string::npos);
    }
}

TEST_CASE("environment, an empty line, arguments", "[boot]") {
    const auto usual = parse_first_command("PATH=/bin\nHOME=/root\n\n/init\n--filter\na b\n");
    CHECK(usual.environment == words{"PATH=/bin", "HOME=/root"});
    CHECK(usual.arguments == words{"/init", "--filter", "a b"});
    CHECK(to_text(usual) == "PATH=/bin\nHOME=/root\n\n/init\n--filter\na b\n");
    const auto bare = parse_first_command("\n/init\n\n--last");
    CHECK(bare.environment.empty());
    CHECK(bare.arguments == words{"/init", "", "--last"});
    CHECK(parse_first_command("").arguments.empty());
    CHECK(parse_first_command("PATH=/bin").arguments.empty());
    CHECK(parse_first_command("PATH=/bin\n\n").arguments.empty());
}
