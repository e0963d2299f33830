// SPDX-License-Identifier: MIT
// The user-space vsock device as the link starts it, with a script in its place.
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/process/child.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <filesystem>
#include <string>

#include <sys/wait.h>

#include "scratch_directory.hpp"

using namespace ktstr;
using namespace ktstr::host;
using unit::scratch_directory;

TEST_CASE("the vsock device gets paths that no directory can spoil", "[link]") {
    const scratch_directory scratch;
    const auto place = scratch.path() / "a,b=c d";
    std::filesystem::create_directory(place);
    // Notes its words and where it is, and comes up as little as one that can't.
    const auto device =
        scratch.write("device", "#!/bin/sh\nprintf '%s\\n' \"$@\" > words\npwd > where\nexit 1\n");
    std::filesystem::permissions(device, std::filesystem::perms::owner_all);
    link_facts facts;
    facts.vhost_device_vsock = device;
    const auto link = host_link::prepare(link_kind::vhost_device_vsock, facts, place, "7-1");
    REQUIRE_FALSE(link);
    CHECK(link.error().message().find("it ended at once") != std::string::npos);
    CHECK(unit::content_of(place / "words") ==
          "--vm\nguest-cid=3,uds-path=7-1.uds,socket=7-1.vhost\n");
    CHECK(unit::content_of(place / "where") == place.string() + '\n');
}

TEST_CASE("a child that somebody has stopped is told from one that works", "[process]") {
    child_request request;
    request.program = "/bin/sleep";
    request.arguments = {"1000"};
    auto sleeper = start_child(request);
    REQUIRE(sleeper);
    CHECK_FALSE(sleeper->stands_still());
    REQUIRE(::kill(sleeper->pid(), SIGSTOP) == 0);
    int status = 0;
    REQUIRE(::waitpid(sleeper->pid(), &status, WUNTRACED) == sleeper->pid());
    CHECK(sleeper->stands_still());
    CHECK_FALSE(child().stands_still());
}

TEST_CASE("a child that can't start where it is to says so", "[process]") {
    child_request request;
    request.program = "/bin/true";
    request.directory = "/no/such/place";
    CHECK_FALSE(start_child(request));
}
