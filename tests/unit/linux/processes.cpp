// SPDX-License-Identifier: MIT
// Ends of processes in words, whole writes, and programs in PATH.
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/find_program.hpp>
#include <ktstr/linux/marked_processes.hpp>
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

TEST_CASE("marked processes are killed wherever they have gone, and nobody else", "[linux]") {
    const std::string mark = "KTSTR_UNIT_MARK=" + std::to_string(::getpid());
    int here[2];
    REQUIRE(::pipe2(here, O_CLOEXEC) == 0);
    // A shell of that environment, whose sleeping grandchild has a session of its own and another parent.
    const auto start = [&](const char* environment) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::dup2(here[1], 1);
            const char* argv[] = {"sh", "-c", "setsid sh -c 'echo up; sleep 1000' & sleep 1000",
                                  nullptr};
            const char* envp[] = {"PATH=/usr/bin:/bin", environment, nullptr};
            ::execve("/bin/sh", const_cast<char**>(argv), const_cast<char**>(envp));
            ::_exit(127);
        }
        char up[3];
        REQUIRE(::read(here[0], up, sizeof up) == 3);
        return pid;
    };
    const pid_t marked = start(mark.c_str());
    const std::string longer = mark + "0";
    const pid_t spared = start(longer.c_str());
    CHECK(has_mark(marked, mark));
    CHECK_FALSE(has_mark(spared, mark));
    CHECK_FALSE(has_mark(::getpid(), mark));

    CHECK(kill_marked(mark) >= 3);
    int status = 0;
    REQUIRE(::waitpid(marked, &status, 0) == marked);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    CHECK(kill_marked(mark) == 0);
    CHECK(::kill(spared, 0) == 0);
    CHECK(kill_marked(longer) >= 3);
    ::waitpid(spared, nullptr, 0);
    ::close(here[0]);
    ::close(here[1]);
}
