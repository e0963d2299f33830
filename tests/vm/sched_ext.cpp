// SPDX-License-Identifier: MIT
// Real BPF schedulers under test: what a body can ask and do, how they end and what is known of that, and whatever
// can be wrong with one. Read by sched_ext.py.
#include <ktstr/ktstr.hpp>

#include <atomic>
#include <chrono>
#include <compare>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

constexpr scheduler zoo{.name = "zoo", .binary = "vm_zoo"};
constexpr scheduler linked{.name = "linked", .binary = "vm_zoo_linked"};
constexpr scheduler stranger{.name = "stranger", .binary = "vm_zoo_stranger"};
constexpr scheduler other{.name = "other",
                          .binary = "vm_zoo_other",
                          .args = {"none", "20000"},
                          .files = {{.path = "/etc/other.conf", .text = "of the other"}}};
constexpr scheduler other_of_another_kernel{.name = "stranger", .binary = "vm_zoo_stranger"};
constexpr scheduler other_that_waits{
    .name = "waits", .binary = "vm_zoo_other", .args = {"never_attaches"}};
constexpr scheduler other_that_stays{
    .name = "stays", .binary = "vm_zoo_other", .args = {"ignores_signals"}};
constexpr scheduler other_that_errs{
    .name = "errs", .binary = "vm_zoo_other", .args = {"error_bpf"}};
constexpr scheduler missing{.name = "missing", .binary = "vm_zoo_that_nobody_built"};
constexpr scheduler foreign{.name = "foreign", .binary = "vm_zoo_of_another_machine"};

constexpr scheduler configured{.name = "configured",
                               .binary = "vm_zoo",
                               .args = {"none", "20000"},
                               .cores = 3,
                               .files = {{.path = "/etc/zoo.conf", .text = "a text"},
                                         {.path = "/etc/zoo/program", .from = "vm_zoo"}},
                               .kernel_args = {"zoo.word=1"},
                               .sysctls = {"kernel.sched_rr_timeslice_ms=30"},
                               .min_kernel = "6.12"};
// The kernel's own, with what it is to find.
constexpr scheduler tuned{.name = "tuned",
                          .binary = "",
                          .files = {{.path = "/etc/tuned.conf", .text = "a text"}},
                          .sysctls = {"kernel.sched_rr_timeslice_ms=30"}};
// The kernel's own, changed by what it has for that.
constexpr scheduler built_in{.name = "built_in",
                             .binary = "",
                             .enable = {"/proc/sys/kernel/sched_rr_timeslice_ms=40"},
                             .disable = {"/proc/sys/kernel/sched_rr_timeslice_ms=50"}};
constexpr scheduler not_built_in{.name = "not_built_in",
                                 .binary = "",
                                 .enable = {"/sys/kernel/no_such_thing=1"},
                                 .disable = {"/sys/kernel/no_such_thing=0"}};
constexpr scheduler of_tomorrow{.name = "of_tomorrow", .binary = "vm_zoo", .min_kernel = "99.1"};
constexpr scheduler wrong_sysctl{
    .name = "wrong_sysctl", .binary = "vm_zoo", .sysctls = {"kernel.no_such_thing=1"}};

std::string text_of(const char* path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

/// A task that the zoo's victims are called, on one CPU and always ready to run.
pid_t start_victim() {
    const pid_t child = ::fork();
    if (child != 0)
        return child;
    ::pthread_setname_np(::pthread_self(), "victim");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(1, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    for (int i = 0;; ++i)
        if (i % 100'000 == 0)
            ::usleep(100);
}

/// What the scheduler itself was told of its end.
struct own_record {
    int kind = 0;
    long long code = 0;
    std::string reason, message, dump;
};
own_record ask_the_zoo(const scheduler_handle& handle) {
    handle.kill(SIGUSR2);
    while (::access("/tmp/zoo-record", F_OK) != 0)
        ::usleep(1000);
    std::ifstream in("/tmp/zoo-record");
    own_record own;
    in >> own.kind >> own.code;
    in.ignore();
    std::getline(in, own.reason);
    std::getline(in, own.message);
    own.dump.assign(std::istreambuf_iterator<char>(in), {});
    return own;
}

void same_as_its_own(context& ctx, scx_exit_kind kind, int number) {
    ctx.scheduler().kill(SIGUSR1);
    const pid_t victim = start_victim();
    const auto end = ctx.scheduler().wait_exit(20s);
    ::kill(victim, SIGKILL);
    ::waitpid(victim, nullptr, 0);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == kind);
    KTSTR_CHECK(!ctx.scheduler().enabled());
    const auto own = ask_the_zoo(ctx.scheduler());
    KTSTR_CHECK(own.kind == number);
    KTSTR_CHECK(end->code == own.code);
    KTSTR_CHECK(end->reason == own.reason);
    KTSTR_CHECK(end->message == own.message);
    // The kernel cuts what it gives to the scheduler at 32 KiB.
    KTSTR_CHECK(end->dump.substr(0, own.dump.size()) == own.dump);
    KTSTR_CHECK(own.dump.empty() == (number < 1024));
}

}  // namespace

KTSTR_TEST(runs_everybody, scheduler = zoo, cores = 2, duration = 1s) {
    KTSTR_REQUIRE(ctx.scheduler().enabled());
    const auto result = execute_steps(
        ctx,
        {step{.setup = {ctx.cgroup_def("load").workers(4).work(spin_wait{})}, .hold = hold::full}});
    KTSTR_CHECK(result.all_completed());
    KTSTR_CHECK(ctx.scheduler().ops_name() == "zoo");
    KTSTR_CHECK(!ctx.scheduler().wait_exit(1ms).has_value());
}

// Only PID 1 knows the process that it started.
KTSTR_TEST(is_asked_for_by_many, scheduler = zoo, duration = 1s) {
    const auto check = [](const result<scheduler_state>& said) {
        KTSTR_REQUIRE(said.has_value());
        KTSTR_CHECK(said->state == "enabled");
        KTSTR_REQUIRE(said->pid.has_value());
        KTSTR_CHECK(*said->pid > 1 && ::kill(*said->pid, 0) == 0);
    };
    check(ctx.scheduler().state());
    // All at once, each in a thread of a process of its own or of this one: everybody gets one answer.
    const pid_t child = ::fork();
    std::vector<result<scheduler_state>> said(8, plain_error("ask", "the agent", "nobody did"));
    std::vector<std::thread> threads;
    for (auto& one : said)
        threads.emplace_back([&ctx, &one] { one = ctx.scheduler().state(); });
    for (auto& thread : threads)
        thread.join();
    for (const auto& one : said)
        check(one);
    if (child == 0)
        ::_exit(0);
    int status = -1;
    ::waitpid(child, &status, 0);
    KTSTR_CHECK(status == 0);
}

KTSTR_TEST(nobody_to_ask_for, duration = 1s) {
    const auto said = ctx.scheduler().state();
    KTSTR_REQUIRE(said.has_value());
    KTSTR_CHECK(!said->pid.has_value());
    KTSTR_CHECK(said->state == "disabled");
    KTSTR_CHECK(!ctx.scheduler().enabled());
    KTSTR_CHECK(ctx.scheduler().ops_name().empty());
    KTSTR_CHECK(!ctx.scheduler().wait_exit(60s).has_value());
    KTSTR_CHECK(::access("/ktstr/scheduler", F_OK) != 0);
}

KTSTR_TEST(nobody_to_detach, duration = 1s) {
    ctx.scheduler().detach();
}

KTSTR_TEST(attached_and_the_body_fails, scheduler = zoo, duration = 1s) {
    KTSTR_CHECK(::access("/tmp/no such file", F_OK) == 0);
}

// It needs libraries that this program does not.
KTSTR_TEST(with_libraries, scheduler = linked, duration = 1s) {
    KTSTR_CHECK(ctx.scheduler().enabled());
}

KTSTR_TEST(config_of_the_kernel, duration = 1s) {
    std::ifstream config("/boot/config-" + [] {
        std::ifstream release("/proc/sys/kernel/osrelease");
        std::string name;
        release >> name;
        return name;
    }());
    const std::string text(std::istreambuf_iterator<char>(config), {});
    KTSTR_CHECK(text.find("CONFIG_SCHED_CLASS_EXT=y") != std::string::npos);
}

KTSTR_TEST(has_all_that_it_wants, scheduler = configured, duration = 1s) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 3);
    KTSTR_CHECK(text_of("/etc/zoo.conf") == "a text");
    KTSTR_CHECK(text_of("/etc/zoo/program").starts_with("\177ELF"));
    KTSTR_CHECK(text_of("/proc/cmdline").find(" zoo.word=1") != std::string::npos);
    KTSTR_CHECK(text_of("/proc/sys/kernel/sched_rr_timeslice_ms") == "30\n");
    // Its own words and nothing else.
    const auto state = ctx.scheduler().state();
    KTSTR_REQUIRE(state.has_value() && state->pid.has_value());
    const auto words = text_of(("/proc/" + std::to_string(*state->pid) + "/cmdline").c_str());
    KTSTR_CHECK(words == std::string("/ktstr/scheduler\0none\00020000\0", 28));
}
KTSTR_TEST(without_a_program, scheduler = tuned, duration = 1s) {
    KTSTR_CHECK(text_of("/etc/tuned.conf") == "a text");
    KTSTR_CHECK(text_of("/proc/sys/kernel/sched_rr_timeslice_ms") == "30\n");
    KTSTR_CHECK(!ctx.scheduler().enabled());
}
KTSTR_TEST(wants_a_newer_kernel, scheduler = of_tomorrow, duration = 1s) {
    KTSTR_FAIL("the body began");
}
KTSTR_TEST(wants_what_is_not_there, scheduler = wrong_sysctl, duration = 1s) {
    KTSTR_FAIL("the body began");
}

// ---- ends that the test wants ----------------------------------------------------------------

KTSTR_TEST(end_is_waited_for, scheduler = zoo, duration = 1s) {
    ctx.scheduler().detach();
    KTSTR_CHECK(!ctx.scheduler().enabled());
    for (int twice : {0, 1}) {
        const auto end = ctx.scheduler().wait_exit(5s);
        KTSTR_REQUIRE(end.has_value());
        KTSTR_CHECK(end->kind == scx_exit_kind::unregistered);
        KTSTR_CHECK(end->reason == "unregistered from user space");
        KTSTR_CHECK(end->message.empty() && end->dump.empty());
        KTSTR_CHECK(end->code == twice * 0);
    }
}
KTSTR_TEST(detached_and_nothing_more, scheduler = zoo, duration = 1s) {
    ctx.scheduler().detach();
}
KTSTR_TEST(detached_whatever_it_does_with_signals, scheduler = zoo,
           scheduler_args = {"ignores_signals"}, duration = 1s) {
    ctx.scheduler().detach();
    KTSTR_CHECK(!ctx.scheduler().enabled());
}
KTSTR_TEST(attached_again_and_again, scheduler = zoo, duration = 1s) {
    for (int i = 0; i < 3; ++i) {
        ctx.scheduler().restart();
        KTSTR_CHECK(ctx.scheduler().enabled());
        ctx.scheduler().detach();
        KTSTR_CHECK(!ctx.scheduler().enabled());
        ctx.scheduler().attach();
        KTSTR_CHECK(ctx.scheduler().ops_name() == "zoo");
    }
}
// What a body attaches by itself is no business of its scheduler's.
KTSTR_TEST(detached_and_one_of_its_own, scheduler = zoo, duration = 1s) {
    ctx.scheduler().detach();
    const pid_t own = ::fork();
    if (own == 0) {
        ::execl("/ktstr/scheduler", "own", nullptr);
        ::_exit(127);
    }
    while (!ctx.scheduler().enabled())
        ::usleep(1000);
    ::kill(own, SIGKILL);
    while (ctx.scheduler().enabled())
        ::usleep(1000);
}
KTSTR_TEST(switched_on_and_off, scheduler = built_in, duration = 1s) {
    const auto slice = [] { return text_of("/proc/sys/kernel/sched_rr_timeslice_ms"); };
    KTSTR_CHECK(slice() == "40\n");
    ctx.scheduler().detach();
    KTSTR_CHECK(slice() == "50\n");
    ctx.scheduler().attach();
    KTSTR_CHECK(slice() == "40\n");
}
KTSTR_TEST(switched_on_in_vain, scheduler = not_built_in, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}

// ---- one in the place of another -------------------------------------------------------------

KTSTR_TEST(replaced_by_a_staged_one, scheduler = zoo, staged = {linked, other}, cores = 2,
           duration = 1s) {
    KTSTR_CHECK(text_of("/etc/other.conf") == "of the other");
    const auto before = ctx.scheduler().state();
    KTSTR_REQUIRE(before.has_value());
    KTSTR_REQUIRE(before->pid.has_value());
    const auto gap = ctx.scheduler().replace(other);
    KTSTR_CHECK(gap > 0ns);
    const auto after = ctx.scheduler().state();
    KTSTR_REQUIRE(after.has_value());
    KTSTR_CHECK(after->state == "enabled");
    KTSTR_CHECK(after->name == "other");
    KTSTR_CHECK(after->pid.has_value());
    KTSTR_CHECK(after->pid != before->pid);
    const auto result = execute_steps(
        ctx,
        {step{.setup = {ctx.cgroup_def("load").workers(4).work(spin_wait{})}, .hold = hold::full}});
    KTSTR_CHECK(result.all_completed());
    // The one before is gone, and so is its place in memory.
    while (::kill(*before->pid, 0) == 0)
        ::usleep(1000);
    ctx.scheduler().restart();
    KTSTR_CHECK(ctx.scheduler().ops_name() == "other");
    ctx.scheduler().detach();
    ctx.scheduler().attach(linked);
    KTSTR_CHECK(ctx.scheduler().ops_name() == "zoo");
    ctx.scheduler().kill();
    KTSTR_CHECK(ctx.scheduler().wait_exit(10s).has_value());
}
// Those that do not get to the door leave everything as it was.
KTSTR_TEST(not_replaced_by_what_fails, scheduler = zoo, staged = {other_of_another_kernel, other},
           duration = 1s) {
    try {
        ctx.scheduler().replace(other_of_another_kernel);
        KTSTR_FAIL("it was replaced");
    } catch (const scheduler_error& e) {
        KTSTR_CHECK(e.why() == scheduler_error::cause::attach);
        KTSTR_CHECK(std::string(e.what()).find("in kernel BTF") != std::string::npos);
        KTSTR_CHECK(std::string(e.what()).find("the scheduler zoo still is") != std::string::npos);
    }
    KTSTR_CHECK(ctx.scheduler().ops_name() == "zoo");
    try {
        ctx.scheduler().replace(linked);
        KTSTR_FAIL("it was replaced by what is not there");
    } catch (const scheduler_error& e) {
        KTSTR_CHECK(e.why() == scheduler_error::cause::mistake_in_test);
    }
    ctx.scheduler().replace(other);
    KTSTR_CHECK(ctx.scheduler().ops_name() == "other");
}
KTSTR_TEST(not_replaced_by_one_that_waits, scheduler = zoo, staged = {other_that_waits},
           duration = 1s, timeout = 2s) {
    ctx.scheduler().replace(other_that_waits);
}
KTSTR_TEST(replaced_and_the_new_one_ends, scheduler = zoo, staged = {other_that_errs},
           duration = 1s, timeout = 60s) {
    ctx.scheduler().replace(other_that_errs);
    ctx.scheduler().kill(SIGUSR1);
    ::pause();
}
// The one that is replaced hears no signal, and is killed.
KTSTR_TEST(replaced_by_one_that_stays, scheduler = zoo, staged = {other_that_stays},
           duration = 1s) {
    ctx.scheduler().replace(other_that_stays);
    ctx.scheduler().replace(zoo);
    KTSTR_CHECK(ctx.scheduler().ops_name() == "zoo");
}

KTSTR_TEST(has_those_who_ask, scheduler = zoo, scheduler_args = {"partial"}, duration = 1s) {
    KTSTR_CHECK(ctx.scheduler().enabled());
    KTSTR_CHECK(ctx.scheduler().partial());
}
KTSTR_TEST(waited_for_for_ever, scheduler = zoo, duration = 1s) {
    KTSTR_CHECK(!ctx.scheduler().partial());
    ctx.scheduler().kill();
    KTSTR_CHECK(ctx.scheduler().wait_exit(std::chrono::milliseconds::max()).has_value());
}
KTSTR_TEST(attached_twice, scheduler = zoo, duration = 1s) {
    ctx.scheduler().attach();
}
KTSTR_TEST(killed_and_waited_for, scheduler = zoo, duration = 1s) {
    ctx.scheduler().kill();
    const auto end = ctx.scheduler().wait_exit(10s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == scx_exit_kind::unregistered);
}

// ---- ends of its own, and the kernel's record of them ----------------------------------------

KTSTR_TEST(record_of_error_bpf, scheduler = zoo, scheduler_args = {"error_bpf"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::error_bpf, 1025);
}
KTSTR_TEST(record_of_exit_bpf, scheduler = zoo, scheduler_args = {"exit_bpf"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::unregistered_bpf, 65);
}
KTSTR_TEST(record_of_wrong_cpu, scheduler = zoo, scheduler_args = {"wrong_cpu"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::error, 1024);
}
KTSTR_TEST(record_of_bad_select, scheduler = zoo, scheduler_args = {"bad_select"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::error, 1024);
}
#define RECORD_OF(fault)                                                                       \
    KTSTR_TEST(record_of_##fault, scheduler = zoo, scheduler_args = {#fault}, duration = 1s) { \
        same_as_its_own(ctx, scx_exit_kind::error, 1024);                                      \
    }
RECORD_OF(no_dsq)
RECORD_OF(twice)
RECORD_OF(vtime)
RECORD_OF(two_orders)
RECORD_OF(wrong_task)
RECORD_OF(bad_flags)
RECORD_OF(bad_kick)
RECORD_OF(two_kicks)
RECORD_OF(bad_perf)
RECORD_OF(moves_none)
RECORD_OF(no_idle)
KTSTR_TEST(record_of_restart, scheduler = zoo, scheduler_args = {"restart"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::unregistered_bpf, 65);
}
KTSTR_TEST(record_of_long_words, scheduler = zoo, scheduler_args = {"long_words"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::error_bpf, 1025);
}
KTSTR_TEST(record_of_odd_words, scheduler = zoo, scheduler_args = {"odd_words"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::error_bpf, 1025);
}
KTSTR_TEST(record_of_hotplug, scheduler = zoo, cores = 2, duration = 1s) {
    std::ofstream("/sys/devices/system/cpu/cpu1/online") << '0' << std::flush;
    same_as_its_own(ctx, scx_exit_kind::unregistered_kern, 66);
}
KTSTR_TEST(record_of_stall, scheduler = zoo, scheduler_args = {"stall", "2000"}, duration = 1s) {
    same_as_its_own(ctx, scx_exit_kind::error_stall, 1026);
}
KTSTR_TEST(record_of_sysrq, scheduler = zoo, duration = 1s) {
    std::ofstream("/proc/sysrq-trigger") << 'S' << std::flush;
    const auto end = ctx.scheduler().wait_exit(10s);
    KTSTR_REQUIRE(end.has_value());
    KTSTR_CHECK(end->kind == scx_exit_kind::sysrq);
    KTSTR_CHECK(end->reason == "disabled by sysrq-S");
}

// ---- ends that nobody waits for --------------------------------------------------------------

KTSTR_TEST(ends_with_an_error, scheduler = zoo, scheduler_args = {"error_bpf"}, duration = 1s,
           timeout = 60s) {
    ctx.scheduler().kill(SIGUSR1);
    ::pause();  // a body that does not notice
}
KTSTR_TEST(ends_and_the_body_passes, scheduler = zoo, scheduler_args = {"error_bpf"},
           duration = 1s) {
    ctx.scheduler().kill(SIGUSR1);
    while (ctx.scheduler().enabled())
        ::usleep(1000);
}
// It attaches itself again, or the body does: that undoes no end.
KTSTR_TEST(ends_and_comes_back, scheduler = zoo, scheduler_args = {"comes_back"}, duration = 1s) {
    std::ofstream("/proc/sysrq-trigger") << 'S' << std::flush;
    while (ctx.scheduler().enabled())
        ::usleep(1000);
    ctx.scheduler().kill(SIGUSR1);
    while (!ctx.scheduler().enabled())
        ::usleep(1000);
}
KTSTR_TEST(ends_and_is_brought_back, scheduler = zoo, duration = 1s) {
    std::ofstream("/proc/sysrq-trigger") << 'S' << std::flush;
    while (ctx.scheduler().enabled())
        ::usleep(1000);
    ctx.scheduler().attach();
}
KTSTR_TEST(eats_all_memory, scheduler = zoo, scheduler_args = {"eats_memory"}, duration = 1s,
           timeout = 60s) {
    ctx.scheduler().kill(SIGUSR1);
    ::pause();
}
KTSTR_TEST(stalls, scheduler = zoo, scheduler_args = {"stall", "2000"}, duration = 1s,
           timeout = 60s) {
    ctx.scheduler().kill(SIGUSR1);
    start_victim();
    ::pause();
}
KTSTR_TEST(leaves, scheduler = zoo, scheduler_args = {"leaves"}, duration = 1s, timeout = 60s) {
    ctx.scheduler().kill(SIGUSR1);
    ::pause();
}
KTSTR_TEST(crashes, scheduler = zoo, scheduler_args = {"crashes"}, duration = 1s, timeout = 60s) {
    ctx.scheduler().kill(SIGUSR1);
    ::pause();
}
KTSTR_TEST(is_killed, scheduler = zoo, duration = 1s, timeout = 60s) {
    ctx.scheduler().kill();
    ::pause();
}

// ---- those that do not come up ---------------------------------------------------------------

KTSTR_TEST(refuses_to_start, scheduler = zoo, scheduler_args = {"fail_init"}, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(is_refused_by_the_verifier, scheduler = zoo, scheduler_args = {"reject"},
           duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(has_a_bad_argument, scheduler = zoo, scheduler_args = {"--frobnicate"}, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(forks_and_exits, scheduler = zoo, scheduler_args = {"forks_and_exits"}, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(never_attaches, scheduler = zoo, scheduler_args = {"never_attaches"}, duration = 1s,
           timeout = 2s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(is_of_another_kernel, scheduler = stranger, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(is_missing, scheduler = missing, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}
KTSTR_TEST(is_of_another_machine, scheduler = foreign, duration = 1s) {
    KTSTR_FAIL("the body began without its scheduler");
}

// ---- odd ones --------------------------------------------------------------------------------

// While others work, and what is there afterwards is what was there before. `change` is done before, and
// then many times.
template <class Change>
void change_many_times(context& ctx, int times, Change change) {
    struct tally {
        int tasks, descriptors, programs, maps;
        auto operator<=>(const tally&) const = default;
    };
    // Of tasks those that somebody made: the kernel has as many kworkers as it likes.
    const auto entries = [](const char* directory, bool tasks) {
        int count = 0;
        for (const auto& one : std::filesystem::directory_iterator(directory))
            if (const auto name = one.path().filename().string();
                !tasks || (name.find_first_not_of("0123456789") == std::string::npos &&
                           !text_of((one.path() / "comm").c_str()).starts_with("kworker")))
                ++count;
        return count;
    };
    const auto bpf_objects = [](int command) {
        union bpf_attr attr {};
        int count = 0;
        while (::syscall(SYS_bpf, command, &attr, sizeof attr) == 0) {
            attr.start_id = attr.next_id;
            ++count;
        }
        return count;
    };
    const auto count = [&] {
        return tally{entries("/proc", true), entries("/proc/1/fd", false),
                     bpf_objects(BPF_PROG_GET_NEXT_ID), bpf_objects(BPF_MAP_GET_NEXT_ID)};
    };
    constexpr int workers = 4;
    auto* const turns = static_cast<std::atomic<long>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t pids[workers];
    for (int i = 0; i < workers; ++i)
        if (pids[i] = ::fork(); pids[i] == 0)
            for (;; turns[i].fetch_add(1))
                if (turns[i] % 1000 == 0)
                    ::usleep(100);
    change();
    const auto before = count();
    for (int i = 0; i < times; ++i)
        change();
    // The kernel frees in its own time: 10 s are for the slowest of hosts.
    auto after = count();
    for (int i = 0; i < 1000 && after > before; ++i, after = count())
        ::usleep(10'000);
    KTSTR_CHECK(after.tasks <= before.tasks);
    KTSTR_CHECK(after.descriptors <= before.descriptors);
    KTSTR_CHECK(after.programs <= before.programs);
    KTSTR_CHECK(after.maps <= before.maps);
    // No task was lost: each goes on, under the scheduler and without it.
    for (const bool attached : {true, false}) {
        KTSTR_CHECK(ctx.scheduler().enabled() == attached);
        for (int i = 0; i < workers; ++i) {
            const long then = turns[i];
            for (int waits = 0; turns[i] == then && waits < 10'000; ++waits)
                ::usleep(1000);
            KTSTR_CHECK(turns[i] > then);
        }
        if (attached)
            ctx.scheduler().detach();
    }
    for (const pid_t pid : pids) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }
}
KTSTR_TEST(attached_a_score_of_times, scheduler = zoo, duration = 1s, timeout = 300s) {
    change_many_times(ctx, 20, [&] { ctx.scheduler().restart(); });
}
KTSTR_TEST(replaced_ten_times, scheduler = zoo, staged = {other}, duration = 1s, timeout = 300s) {
    // One there and one back, so that the same one is attached whenever something is counted.
    change_many_times(ctx, 5, [&] {
        ctx.scheduler().replace(other);
        KTSTR_CHECK(ctx.scheduler().ops_name() == "other");
        ctx.scheduler().replace(zoo);
        KTSTR_CHECK(ctx.scheduler().ops_name() == "zoo");
    });
}
// Too long for the suite, see below.
KTSTR_TEST(replaced_fifty_times, scheduler = zoo, staged = {other}, duration = 1s,
           timeout = 1800s) {
    change_many_times(ctx, 25, [&] {
        ctx.scheduler().replace(other);
        ctx.scheduler().replace(zoo);
    });
}
// Too long for the suite: sched_ext.py PROGRAM --long.
KTSTR_TEST(attached_two_hundred_times, scheduler = zoo, duration = 1s, timeout = 1800s) {
    change_many_times(ctx, 200, [&] { ctx.scheduler().restart(); });
}
KTSTR_TEST(floods_its_output, scheduler = zoo, scheduler_args = {"floods"}, cores = 2,
           duration = 1s, timeout = 60s) {
    for (int i = 0; i < 50; ++i)
        ::usleep(20'000);
    KTSTR_CHECK(ctx.scheduler().enabled());
}
// The second is refused by the kernel, and the first stays.
KTSTR_TEST(two_at_once, scheduler = zoo, duration = 1s) {
    const pid_t second = ::fork();
    if (second == 0) {
        ::execl("/ktstr/scheduler", "second", nullptr);
        ::_exit(127);
    }
    int status = -1;
    ::waitpid(second, &status, 0);
    KTSTR_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    KTSTR_CHECK(ctx.scheduler().enabled());
}
