// SPDX-License-Identifier: MIT
// What `ktstr selftests` runs in each machine: one case of the kernel's own sched_ext selftests, by their own runner,
// and what its lines say. Guest side; the command itself is selftests_command.cpp.
#include <ktstr/ktstr.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "selftests_lines.hpp"

namespace {

using namespace std::chrono_literals;

// The command opens both before it runs a cell; which case is meant, it says by the seed.
constexpr ktstr::scheduler of_sources{
    .name = "selftests",
    .binary = "",
    .files = {{.path = "/selftests/runner", .from = ktstr::tool::runner_descriptor},
              {.path = "/selftests/cases", .from = ktstr::tool::cases_descriptor}}};

std::string case_of(std::uint64_t number) {
    std::ifstream list("/selftests/cases");
    std::string name;
    for (std::uint64_t i = 0; i < number; ++i)
        if (!std::getline(list, name))
            return {};
    return name;
}

/// A copy that can be executed: what a test is given are files without that right.
int executable_copy(const char* path) {
    const int from = ::open(path, O_RDONLY | O_CLOEXEC);
    const int to = ::memfd_create("runner", 0);
    KTSTR_REQUIRE(from >= 0 && to >= 0, "{}: errno {}", path, errno);
    static char buffer[1 << 16];
    for (;;) {
        const auto n = ::read(from, buffer, sizeof buffer);
        KTSTR_REQUIRE(n >= 0, "{}: errno {}", path, errno);
        if (n == 0)
            break;
        KTSTR_REQUIRE(::write(to, buffer, static_cast<std::size_t>(n)) == n);
    }
    ::close(from);
    return to;
}

}  // namespace

KTSTR_TEST(kernel_selftest, scheduler = of_sources, cores = 2, memory_mib = 2048, duration = 1s,
           timeout = 300s) {
    const std::string name = case_of(ctx.seed());
    KTSTR_REQUIRE(!name.empty(), "the list of cases has no number {}", ctx.seed());
    const int runner = executable_copy("/selftests/runner");
    int pipe[2];
    KTSTR_REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    KTSTR_REQUIRE(child >= 0);
    if (child == 0) {
        ::setpgid(0, 0);
        ::dup2(pipe[1], 1);
        ::dup2(pipe[1], 2);
        const std::string path = "/proc/self/fd/" + std::to_string(runner);
        ::execl(path.c_str(), "runner", "-t", name.c_str(), static_cast<char*>(nullptr));
        ::_exit(127);
    }
    ::close(pipe[1]);
    ktstr::tool::selftest_lines lines(name);
    std::string line;
    for (char buffer[4096]; !lines.verdict();) {
        const auto n = ::read(pipe[0], buffer, sizeof buffer);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            break;
        for (const char c : std::string_view(buffer, static_cast<std::size_t>(n < 0 ? 0 : n))) {
            if (c != '\n') {
                line += c;
                continue;
            }
            std::printf("%s\n", line.c_str());
            lines.add(line);
            line.clear();
        }
        std::fflush(stdout);
    }
    if (!line.empty()) {
        std::printf("%s\n", line.c_str());
        lines.add(line);
    }
    // Behind the result come only cases whose names this one is a part of: they have machines of their own.
    const bool cut_short = lines.verdict().has_value();
    if (cut_short)
        ::kill(-child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    ::kill(-child, SIGKILL);
    const auto outcome = lines.conclude();
    using enum ktstr::tool::selftest_outcome::kind;
    if (outcome.what == skipped)
        KTSTR_SKIP("{}", outcome.why);
    if (outcome.what == failed)
        KTSTR_FAIL("{}", outcome.why);
    if (outcome.what == untold) {
        if (WIFSIGNALED(status))
            KTSTR_FAIL("{}; the runner was killed by signal {}", outcome.why, WTERMSIG(status));
        KTSTR_FAIL("{}; the runner ended with {}", outcome.why, WEXITSTATUS(status));
    }
    // One that ended by itself has to agree: a pass is two words of the runner's, not one.
    const bool ended_by_us = cut_short && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!ended_by_us && !lines.another_began())
        KTSTR_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                    "the runner says ok and ends with wait status {}", status);
}
