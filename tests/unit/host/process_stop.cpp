// SPDX-License-Identifier: MIT
// What waits for another process or a tool ends when the stop signal comes. In a child: the handlers
// belong to a process.
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/cache/file_lock.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/process/run_tool.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/vm/qmp.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scratch_directory.hpp"

using namespace ktstr;
using namespace ktstr::host;
using unit::scratch_directory;

namespace {

/// The exit status of `body` in a process that was sent `signal` once something was written to its
/// descriptor.
int status_of(int signal, const std::function<int(int fd)>& body) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::alarm(60);  // a wait that hears nothing must not hang the suite
        const stop_signal stop;
        ::_exit(body(ends[1]));
    }
    ::close(ends[1]);
    char c = 0;
    CHECK(::read(ends[0], &c, 1) == 1);
    ::close(ends[0]);
    ::kill(pid, signal);
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool was_interrupted(const error& e) {
    return e.reason == "interrupted";
}

}  // namespace

TEST_CASE("the stop signal ends the wait for a lock", "[process]") {
    const scratch_directory scratch;
    const auto path = scratch.path() / "lock";
    const auto held = lock_file(path, lock_mode::exclusive);
    REQUIRE(held);
    for (const int signal : {SIGINT, SIGTERM})
        CHECK(status_of(signal, [&](int fd) {
                  const auto mine =
                      lock_file(path, lock_mode::exclusive, [&] { (void)!::write(fd, "x", 1); });
                  // And no process of it is left.
                  const bool alone = ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
                  return !mine && was_interrupted(mine.error()) && alone ? 0 : 1;
              }) == 0);
}

TEST_CASE("a lock that was waited for is held after the wait", "[process]") {
    const scratch_directory scratch;
    const auto path = scratch.path() / "lock";
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    auto held = lock_file(path, lock_mode::exclusive);
    REQUIRE(held);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::close(ends[0]);
        held->reset();  // the parent's copy keeps it
        ::alarm(60);
        const auto mine =
            lock_file(path, lock_mode::exclusive, [&] { (void)!::write(ends[1], "w", 1); });
        (void)!::write(ends[1], mine ? "h" : "-", 1);
        ::pause();
    }
    ::close(ends[1]);
    char c = 0;
    REQUIRE(::read(ends[0], &c, 1) == 1);
    CHECK(c == 'w');
    held->reset();
    REQUIRE(::read(ends[0], &c, 1) == 1);
    CHECK(c == 'h');
    const auto refused = try_lock_file(path, lock_mode::shared);
    REQUIRE(refused);
    CHECK_FALSE(refused->has_value());
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    const auto free = try_lock_file(path, lock_mode::exclusive);
    CHECK((free && free->has_value()));
    ::close(ends[0]);
}

TEST_CASE("the stop signal ends a tool, whatever it makes of it", "[process]") {
    for (const std::string obeys : {"", "trap '' TERM; "})
        for (const int signal : {SIGINT, SIGTERM}) {
            INFO(obeys << signal);
            CHECK(status_of(signal, [&](int fd) {
                      const auto done =
                          run_tool({.argv = {"sh", "-c", obeys + "echo; sleep 1000; :"},
                                    .output_fd = fd,
                                    .grace = std::chrono::milliseconds(200)});
                      const bool alone = ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
                      return !done && was_interrupted(done.error()) && alone ? 0 : 1;
                  }) == 0);
        }
}

TEST_CASE("a tool that ends in order when it is stopped has the time to", "[process]") {
    const scratch_directory scratch;
    const auto note = scratch.path() / "ended";
    CHECK(status_of(SIGINT, [&](int fd) {
              const auto done = run_tool({.argv = {"sh", "-c",
                                                   "sleep 1000 & trap 'echo yes >" + note.string() +
                                                       "; exit 1' TERM; echo; wait"},
                                          .output_fd = fd,
                                          .grace = std::chrono::seconds(50)});
              return !done && was_interrupted(done.error()) ? 0 : 1;
          }) == 0);
    CHECK(unit::content_of(note) == "yes\n");
}

TEST_CASE("the stop signal ends the wait for a QEMU that does not answer", "[process]") {
    CHECK(status_of(SIGINT, [&](int fd) {
              int ends[2];
              if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
                  return 1;
              qmp silent{unique_fd(ends[0]), std::chrono::minutes(10)};
              (void)!::write(fd, "x", 1);
              const auto opened = silent.open();
              // Every later question as well: there is no answer to any.
              const auto asked = silent.ask("quit");
              return !opened && was_interrupted(opened.error()) && !asked &&
                             was_interrupted(asked.error())
                         ? 0
                         : 1;
          }) == 0);
}

TEST_CASE("the stop signal ends the wait for a vsock device that does not come up", "[process]") {
    const scratch_directory scratch;
    const auto device = scratch.write("device", "#!/bin/sh\necho; exec sleep 1000\n");
    std::filesystem::permissions(device, std::filesystem::perms::owner_all);
    CHECK(status_of(SIGINT, [&](int fd) {
              link_facts facts;
              facts.vhost_device_vsock = device;
              (void)!::write(fd, "x", 1);
              const auto link =
                  host_link::prepare(link_kind::vhost_device_vsock, facts, scratch.path(), "link");
              // Its own limit is 10 s, and says something else.
              return !link && was_interrupted(link.error()) ? 0 : 1;
          }) == 0);
}

TEST_CASE("a signal that is ignored stays ignored, and the others are taken", "[process]") {
    for (const int ignored : {0, SIGHUP, SIGINT, SIGTERM})
        for (const int signal : {SIGHUP, SIGINT, SIGTERM}) {
            INFO(ignored << ' ' << signal);
            const pid_t pid = ::fork();
            REQUIRE(pid >= 0);
            if (pid == 0) {
                for (const int each : {SIGHUP, SIGINT, SIGTERM})
                    ::signal(each, each == ignored ? SIG_IGN : SIG_DFL);
                const stop_signal stop;
                ::raise(signal);
                const int heard = stop_signal::received();
                stop_signal::forget();
                ::_exit(stop_signal::received() == 0 ? heard : 100);
            }
            int status = 0;
            REQUIRE(::waitpid(pid, &status, 0) == pid);
            REQUIRE(WIFEXITED(status));
            CHECK(WEXITSTATUS(status) == (signal == ignored ? 0 : signal));
        }
}

TEST_CASE("the stop signal ends a hash of what has no end", "[process]") {
    CHECK(status_of(SIGINT, [&](int fd) {
              (void)!::write(fd, "x", 1);
              const auto hash = hash_file("/dev/zero");
              return !hash && was_interrupted(hash.error()) ? 0 : 1;
          }) == 0);
}
