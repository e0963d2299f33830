// SPDX-License-Identifier: MIT
// A main() of its own that says in lines what <ktstr/embed.hpp> answers. own_main.py says what must come out.
#include <ktstr/embed.hpp>
#include <ktstr/ktstr.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

KTSTR_TEST(embedded_pass, cores = 2, timeout = 20s, tags = {"a", "b"}) {
    ctx.metric("answer", 42, "1/s", ktstr::better::higher);
    KTSTR_CHECK(ctx.seed() == 7);
}

KTSTR_TEST(embedded_fail, cores = 2, timeout = 20s) {
    KTSTR_INFO("beside {}", 1);
    KTSTR_CHECK(ctx.topology().total_cpus() == 3, "counted {}", 2);
    KTSTR_CHECK(ctx.topology().total_cpus() == 4);
}

KTSTR_TEST(embedded_skip, host_only) {
    KTSTR_SKIP("no wish to");
}

KTSTR_TEST(embedded_kvm, cores = 2, requires_kvm) {}

KTSTR_TEST(embedded_hangs, cores = 2, timeout = 600s) {
    std::puts("the body hangs");
    for (;;)
        ::pause();
}

KTSTR_TEST(embedded_hangs_here, host_only, timeout = 600s) {
    for (;;)
        ::pause();
}

/// Two pipes with names, of own_main.py: a body says by one that it runs, and ends when the other is opened.
KTSTR_TEST(embedded_meets, host_only, timeout = 600s) {
    const std::string place = std::getenv("OWN_MAIN_PLACE");
    KTSTR_REQUIRE(::open((place + "/runs").c_str(), O_WRONLY | O_CLOEXEC) >= 0);
    KTSTR_REQUIRE(::open((place + "/ends").c_str(), O_RDONLY | O_CLOEXEC) >= 0);
}

/// What it is says own_main.py by a variable.
constexpr ktstr::scheduler embedded{.name = "embedded", .binary = "no_such_scheduler"};
KTSTR_TEST(embedded_scheduler, scheduler = embedded, cores = 2, timeout = 20s) {}

namespace {

void show(const ktstr::cell_result& r) {
    std::printf("cell %s: %s %s %s attempts=%d checks=%ld failed=%ld accel=%s: %s\n",
                r.name.c_str(), std::string(to_text(r.ending)).c_str(),
                r.verdict ? std::string(to_text(*r.verdict)).c_str() : "-",
                std::string(to_text(r.reason)).c_str(), r.attempts,
                r.checks ? static_cast<long>(*r.checks) : -1L,
                static_cast<long>(r.failed_check_count), r.accel ? r.accel->c_str() : "-",
                r.message.c_str());
    for (const auto& c : r.failed_checks)
        std::printf("  check %s:%d %s %s (%s) '%s' info=%s\n", c.file.c_str(), c.line,
                    c.kind.c_str(), c.expression.c_str(), c.expansion.c_str(), c.message.c_str(),
                    c.info.empty() ? "-" : c.info[0].c_str());
    for (const auto& m : r.metrics)
        std::printf("  metric %s %g %s %s\n", m.name.c_str(), m.value, m.unit.c_str(),
                    std::string(to_text(m.better)).c_str());
    if (r.artifacts)
        std::printf("  artifacts %d\n", ::access(r.artifacts->c_str(), R_OK) == 0);
    std::printf("  times %d %d\n", r.body_time && r.body_time->count() >= 0,
                r.total_time && r.total_time->count() > 0);
    if (!r.passed())
        std::printf("  text <<%s>>\n", r.text.c_str());
    std::fflush(stdout);
}

/// Forks a child while the cell's body runs, that never ends and holds all that this process had then.
void fork_beside(bool and_end_the_body) {
    const std::string place = std::getenv("OWN_MAIN_PLACE");
    (void)::open((place + "/runs").c_str(), O_RDONLY | O_CLOEXEC);
    const pid_t pid = ::fork();
    if (pid == 0) {
        show(ktstr::run_cell("embedded_skip"));
        for (const int standard : {0, 1, 2})
            ::close(standard);
        for (;;)
            ::pause();
    }
    std::printf("forked %d\n", static_cast<int>(pid));
    std::fflush(stdout);
    if (and_end_the_body)
        (void)::open((place + "/ends").c_str(), O_WRONLY | O_CLOEXEC);
}

}  // namespace

/// own_main CELL... [-- ARGUMENT...]; `forgets` in place of the cells leaves out take_role(); `handles` has a
/// handler of its own for SIGTERM; `list` lists; `forks` and `forks_only` fork beside the next cell's body, and the
/// first ends it; `becomes:FILE` builds the scheduler anew; with `run` the rest is ktstr's own command line, and a
/// signal comes after it.
int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "forgets") == 0) {
        show(ktstr::run_cell("embedded_skip"));
        return 0;
    }
    if (const auto status = ktstr::take_role(argc, argv))
        return *status;
    if (argc > 1 && std::strcmp(argv[1], "run") == 0) {
        argv[1] = argv[0];
        ::signal(SIGTERM, [](int) { (void)!::write(1, "my own handler\n", 15); });
        const int status = ktstr::run(argc - 1, argv + 1);
        ::raise(SIGTERM);
        return status;
    }
    ktstr::run_options how;
    int names = 1;
    while (names < argc && std::strcmp(argv[names], "--") != 0)
        ++names;
    for (int i = names + 1; i < argc; ++i)
        how.arguments.emplace_back(argv[i]);
    for (int i = 1; i < names; ++i) {
        const std::string_view name = argv[i];
        if (name.starts_with("becomes:")) {
            const std::filesystem::path scheduler = std::getenv("KTSTR_SCHEDULER_EMBEDDED");
            const auto next = scheduler.string() + ".new";
            std::filesystem::copy(name.substr(8), next);
            std::filesystem::rename(next, scheduler);
        } else if (name.starts_with("forks")) {
            std::thread(fork_beside, name == "forks").detach();
        } else if (name == "handles") {
            ::signal(SIGTERM, [](int) { (void)!::write(1, "my own handler\n", 15); });
        } else if (name == "list") {
            const auto cells = ktstr::list_cells(how);
            if (!cells)
                std::printf("error %s\n", cells.error().message().c_str());
            else
                for (const auto& c : *cells)
                    std::printf("listed %s %s %s:%d %s %ld host_only=%d\n", c.name.c_str(),
                                c.test.c_str(), c.file.c_str(), c.line,
                                c.tags.empty() ? "-" : c.tags[0].c_str(),
                                static_cast<long>(c.timeout.count()), c.host_only);
        } else {
            show(ktstr::run_cell(name, how));
        }
    }
    std::puts("the end");
    return 0;
}
