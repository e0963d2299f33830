// SPDX-License-Identifier: MIT
// Tests that may find their scheduler attached: in a clone of a template in which it was attached before. Read by
// attached.py, which says what has to be in a template and what not.
#include <ktstr/ktstr.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

constexpr scheduler zoo{.name = "zoo", .binary = "vm_zoo"};
constexpr scheduler configured{.name = "configured",
                               .binary = "vm_zoo",
                               .args = {"none", "20000"},
                               .files = {{.path = "/etc/zoo.conf", .from = "zoo.conf"}},
                               .sysctls = {"kernel.sched_rr_timeslice_ms=30"}};

constexpr scheduler silencer{
    .name = "silencer", .binary = "vm_zoo", .sysctls = {"kernel.printk=1"}};

std::string content_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// What runs, by the kernel's word and not by that of a file's name.
void see(const context& ctx) {
    const auto state = ctx.scheduler().state();
    KTSTR_REQUIRE(state.has_value());
    KTSTR_CHECK(state->state == "enabled");
    KTSTR_CHECK(state->name == "zoo");
    KTSTR_REQUIRE(state->pid.has_value());
    const auto process = "/proc/" + std::to_string(*state->pid);
    auto arguments = content_of(process + "/cmdline");
    for (char& c : arguments)
        c = c == '\0' ? ' ' : c;
    const auto program = content_of(process + "/exe");
    KTSTR_CHECK(program.size() > 1000);
    // Each build of it that the script makes has a word behind it.
    const auto mark = program.rfind("BUILD-");
    std::printf("runs: %s/ %s /%s/ %s/\n", arguments.c_str(),
                mark == std::string::npos ? "unmarked" : program.substr(mark).c_str(),
                content_of("/etc/zoo.conf").c_str(),
                content_of("/proc/sys/kernel/sched_rr_timeslice_ms").c_str());
    std::printf("clock: %lld\n", static_cast<long long>(std::time(nullptr)));
}

}  // namespace

KTSTR_TEST(a_first, scheduler = zoo) {
    see(ctx);
}
KTSTR_TEST(a_second, scheduler = zoo) {
    see(ctx);
}
KTSTR_TEST(a_third, scheduler = zoo, fresh_scheduler) {
    see(ctx);
}

KTSTR_TEST(b_restarts, scheduler = zoo, duration = 1s) {
    see(ctx);
    const auto before = ctx.scheduler().state()->pid;
    ctx.scheduler().restart();
    see(ctx);
    KTSTR_CHECK(ctx.scheduler().state()->pid != before);
    ctx.scheduler().detach();
    KTSTR_CHECK(!ctx.scheduler().enabled());
    ctx.scheduler().attach();
    see(ctx);
    ctx.scheduler().detach();
    const auto end = ctx.scheduler().wait_exit(5s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == scx_exit_kind::unregistered);
}

// The same in both: an end that nobody wants is one in every clone.
KTSTR_TEST(c_ends, scheduler = zoo, scheduler_args = {"error_bpf"}, duration = 1s) {
    ctx.scheduler().kill(SIGUSR1);
    (void)execute_steps(ctx,
                        {step{.setup = {ctx.cgroup_def("load").workers(2)}, .hold = hold::full}});
}
KTSTR_TEST(c_ends_too, scheduler = zoo, scheduler_args = {"error_bpf"}, duration = 1s) {
    ctx.scheduler().kill(SIGUSR1);
    (void)execute_steps(ctx,
                        {step{.setup = {ctx.cgroup_def("load").workers(2)}, .hold = hold::full}});
}

// Another argument, other files and sysctls: another template.
KTSTR_TEST(d_configured, scheduler = configured) {
    see(ctx);
}
KTSTR_TEST(d_configured_too, scheduler = configured) {
    see(ctx);
}
KTSTR_TEST(d_other_argument, scheduler = configured, scheduler_args = {"more"}) {
    see(ctx);
}
KTSTR_TEST(d_other_argument_too, scheduler = configured, scheduler_args = {"more"}) {
    see(ctx);
}

// One that always has something to do, and one that has ended when its clone is awake.
KTSTR_TEST(e_spins, scheduler = zoo, scheduler_args = {"spins"}, duration = 1s) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}
KTSTR_TEST(e_spins_too, scheduler = zoo, scheduler_args = {"spins"}, duration = 1s) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}
KTSTR_TEST(f_leaves_when_woken, scheduler = zoo, scheduler_args = {"leaves_when_woken"},
           duration = 2s) {
    // An end is nobody's business: whoever waited for it would make it the test's.
    (void)execute_steps(ctx,
                        {step{.setup = {ctx.cgroup_def("load").workers(2)}, .hold = hold::full}});
    (void)ctx.scheduler().state();
}
KTSTR_TEST(f_refused, scheduler = zoo, scheduler_args = {"fail_init"}) {}
KTSTR_TEST(f_refused_too, scheduler = zoo, scheduler_args = {"fail_init"}) {}

// The kernel complains about the attach, on a console that was told to keep quiet too.
KTSTR_TEST(g_complains, scheduler = zoo, scheduler_args = {"complains"}) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}
KTSTR_TEST(g_complains_too, scheduler = zoo, scheduler_args = {"complains"}) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}
KTSTR_TEST(g_is_silenced, scheduler = silencer, scheduler_args = {"complains"}) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}
KTSTR_TEST(g_is_silenced_too, scheduler = silencer, scheduler_args = {"complains"}) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}
KTSTR_TEST(g_keeps_quiet, scheduler = silencer) {
    see(ctx);
}
KTSTR_TEST(g_keeps_quiet_too, scheduler = silencer) {
    see(ctx);
}
