// SPDX-License-Identifier: MIT
// Ends of processes in words, whole writes, and programs in PATH.
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/find_program.hpp>
#include <ktstr/linux/write_all.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/fake_files.hpp"

using namespace ktstr;

namespace {

template <class Deed>
int status_of(const Deed& deed) {
    const pid_t child = ::fork();
    if (child == 0) {
        deed();
        ::_exit(0);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
}

}  // namespace

TEST_CASE("the end of a process in words", "[linux]") {
    CHECK(exit_text(status_of([] { ::_exit(3); })) == "exited with status 3");
    CHECK(exit_text(status_of([] { ::raise(SIGKILL); })) == "was killed by SIGKILL");
    CHECK(exit_text(status_of([] { ::raise(SIGRTMIN + 1); })) ==
          "was killed by signal " + std::to_string(SIGRTMIN + 1));
    CHECK(shell_status(status_of([] { ::_exit(3); })) == 3);
    CHECK(shell_status(status_of([] { ::raise(SIGKILL); })) == 137);
}

TEST_CASE("everything is written, also to a pipe that is full and does not block", "[linux]") {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    unique_fd from(ends[0]);
    const unique_fd to(ends[1]);
    const std::string all(1 << 20, 'x');
    std::string got;
    std::thread reader([&] {
        char chunk[8192];
        ::fcntl(from.get(), F_SETFL, 0);
        while (got.size() < all.size())
            got.append(chunk, static_cast<std::size_t>(::read(from.get(), chunk, sizeof chunk)));
    });
    CHECK(write_all(to.get(), all));
    reader.join();
    CHECK(got == all);
    from.reset();
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    CHECK_FALSE(write_all(to.get(), "x"));
    std::signal(SIGPIPE, before);
    CHECK_FALSE(write_all(-1, "x"));
    CHECK(write_all(-1, ""));
}

TEST_CASE("a program is the first executable file in PATH", "[linux]") {
    const guest::testing::scratch_directory files;
    const auto before = std::string(std::getenv("PATH"));
    ::chmod(files.write("b/tool", "").c_str(), 0755);
    ::chmod(files.write("c/tool", "").c_str(), 0755);
    files.write("a/tool", "");         // not executable
    files.write("d/tool/inside", "");  // a directory
    const auto at = [&](const char* name) { return (files.path() / name).string(); };
    ::setenv("PATH", (at("d") + "::" + at("a") + ':' + at("b") + ':' + at("c")).c_str(), 1);
    CHECK(find_program("tool") == files.path() / "b/tool");
    CHECK_FALSE(find_program("ktstr-no-such-tool"));
    CHECK_FALSE(find_program("sh"));
    CHECK(find_program("sh", "/bin"));
    ::setenv("PATH", before.c_str(), 1);
}

TEST_CASE("clocks count nanoseconds", "[linux]") {
    const auto first = now_ns(CLOCK_MONOTONIC);
    CHECK(now_ns(CLOCK_MONOTONIC) >= first);
    CHECK(to_timespec(3'000'000'007U).tv_sec == 3);
    CHECK(to_timespec(3'000'000'007U).tv_nsec == 7);
}
