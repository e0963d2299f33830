// SPDX-License-Identifier: MIT
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <string>

#include "scratch_directory.hpp"

using namespace ktstr::host;
using namespace std::chrono_literals;

TEST_CASE("a tool's output, its complaints and its exit code are told apart") {
    const auto output = run_tool({{"sh", "-c", "echo out; echo err >&2; exit 7"}});
    REQUIRE(output);
    CHECK(output->out == "out\n");
    CHECK(output->err == "err\n");
    CHECK(output->exit_code == 7);
}

TEST_CASE("arguments reach a tool unchanged: there is no shell") {
    const std::string odd = "a b; $(touch x) \"'\\*";
    const auto output = run_tool({{"printf", "%s", odd}});
    REQUIRE(output);
    CHECK(output->out == odd);
}

TEST_CASE("a tool reads the input it is given, however much") {
    const std::string much(3'000'000, 'k');
    const auto output = run_tool({{"cat"}, much});
    REQUIRE(output);
    CHECK(output->out == much);
    const auto none = run_tool({{"cat"}});
    REQUIRE(none);
    CHECK(none->out.empty());
}

TEST_CASE("input that the tool does not read does no harm") {
    const std::string much(3'000'000, 'k');
    const auto output = run_tool({{"true"}, much});
    REQUIRE(output);
    CHECK(output->exit_code == 0);
}

TEST_CASE("a tool's output can go to a descriptor") {
    const unit::scratch_directory scratch;
    const auto file = scratch.path() / "out";
    const ktstr::unique_fd to{::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    tool_command command;
    command.argv = {"echo", "there"};
    command.output_fd = to.get();
    const auto output = run_tool(std::move(command));
    REQUIRE(output);
    CHECK(output->out.empty());
    CHECK(unit::content_of(file) == "there\n");
}

TEST_CASE("a tool that is not installed is an error that says so") {
    const auto output = run_tool({{"ktstr-no-such-tool"}});
    REQUIRE_FALSE(output);
    CHECK(output.error().code == ENOENT);
    CHECK(output.error().message().find("ktstr-no-such-tool") != std::string::npos);
}

TEST_CASE("a tool that takes too long is killed together with its children") {
    tool_command command;
    command.argv = {"sh", "-c", "sleep 1000 & sleep 1000"};
    command.timeout = 50ms;
    // If one of them lived on, it would hold the pipe, and this would end in 1000 s.
    const auto output = run_tool(std::move(command));
    REQUIRE_FALSE(output);
    CHECK(output.error().message().find("50 ms") != std::string::npos);
}

TEST_CASE("a tool that died of a signal has not ended well") {
    const auto output = run_tool({{"sh", "-c", "kill -TERM $$"}});
    REQUIRE(output);
    CHECK(output->exit_code == 128 + SIGTERM);
}

TEST_CASE("too much output is an error, not a full memory") {
    tool_command command;
    command.argv = {"head", "-c", "1000000", "/dev/zero"};
    command.output_limit = 1000;
    CHECK_FALSE(run_tool(std::move(command)));
}

TEST_CASE("run_tool_ok turns a failed tool into an error with its last words") {
    const auto bad = run_tool_ok({{"sh", "-c", "echo first >&2; echo the cause >&2; exit 2"}},
                                 "unpack", "a thing");
    REQUIRE_FALSE(bad);
    CHECK(bad.error().message() == "cannot unpack a thing: sh ended with 2: the cause");
    CHECK(run_tool_ok({{"true"}}, "do", "it"));
}

TEST_CASE("a tool runs in the directory and with the variables it is given") {
    const unit::scratch_directory scratch;
    tool_command command;
    command.argv = {"sh", "-c", "pwd; echo $KTSTR_UNIT $LC_ALL"};
    command.directory = scratch.path();
    command.environment = {"KTSTR_UNIT=given"};
    const auto output = run_tool(std::move(command));
    REQUIRE(output);
    CHECK(output->out == scratch.path().string() + "\ngiven C\n");
}

TEST_CASE("find_tool finds what is in PATH and nothing else") {
    CHECK(find_tool("sh"));
    CHECK_FALSE(find_tool("ktstr-no-such-tool"));
}
