// SPDX-License-Identifier: MIT
// Bodies that end in every way there is. What each must be judged as stands in outcomes.py; a body
// that the harness judged otherwise is a defect of the harness.
#include <ktstr/ktstr.hpp>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <elf.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

void write_to(const char* path, const char* text) {
    const int fd = ::open(path, O_WRONLY);
    KTSTR_REQUIRE(fd >= 0);
    KTSTR_REQUIRE(::write(fd, text, std::strlen(text)) > 0);
    ::close(fd);
}

/// The harness's own end of the link, taken from PID 1: a body is root and can do that.
int steal_link() {
    const int init = static_cast<int>(::syscall(SYS_pidfd_open, 1, 0));
    for (int fd = 3; fd < 64; ++fd) {
        const auto path = "/proc/1/fd/" + std::to_string(fd);
        char target[256] = {};
        if (::readlink(path.c_str(), target, sizeof target - 1) <= 0)
            continue;
        const std::string name = target;
        if (name.starts_with("/dev/vport"))
            return static_cast<int>(::syscall(SYS_pidfd_getfd, init, fd, 0));
    }
    return -1;
}

/// A module of this very kernel, made to die in its first instruction: the kernel oopses and goes on.
/// Its name is changed, because the sound one is loaded, and its signature is taken off.
std::string module_that_oopses(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string image{std::istreambuf_iterator<char>(in), {}};
    const auto marker = image.rfind("~Module signature appended~");
    if (marker != std::string::npos)
        image.resize(marker);
    KTSTR_REQUIRE(image.size() > sizeof(Elf64_Ehdr));
    const auto header = reinterpret_cast<const Elf64_Ehdr*>(image.data());
    const auto sections = reinterpret_cast<const Elf64_Shdr*>(image.data() + header->e_shoff);
    const auto text = [&](const Elf64_Shdr& table, std::size_t at) {
        return std::string_view(image.data() + table.sh_offset + at);
    };
    int changed = 0;
    for (int i = 0; i < header->e_shnum; ++i) {
        const auto& section = sections[i];
        if (text(sections[header->e_shstrndx], section.sh_name) == ".gnu.linkonce.this_module") {
            // struct module: a state, a list head, then the name.
            image[section.sh_offset + 24] = 'X';
            ++changed;
        }
        if (section.sh_type != SHT_SYMTAB)
            continue;
        const auto symbols = reinterpret_cast<const Elf64_Sym*>(image.data() + section.sh_offset);
        for (std::size_t s = 0; s < section.sh_size / sizeof(Elf64_Sym); ++s)
            if (text(sections[section.sh_link], symbols[s].st_name) == "init_module") {
                const auto at = sections[symbols[s].st_shndx].sh_offset + symbols[s].st_value;
                // An endbr64, which no relocation touches, becomes ud2 and two nops.
                KTSTR_REQUIRE(image.substr(at, 4) == "\xf3\x0f\x1e\xfa");
                image.replace(at, 4, "\x0f\x0b\x90\x90");
                ++changed;
            }
    }
    KTSTR_REQUIRE(changed == 2);
    return image;
}

/// Checks something when it comes to life, where a machine's kernel was started with that word, which the
/// kernel hands on as environment.
const struct checks_at_birth {
    checks_at_birth() {
        const char* const wish = std::getenv("KTSTR_TEST_GLOBAL");
        const int at_birth = 1;
        if (wish != nullptr && std::string_view(wish) == "fails")
            KTSTR_CHECK(at_birth == 2);
        if (wish != nullptr && std::string_view(wish) == "passes")
            KTSTR_CHECK(at_birth == 1);
    }
} checked_at_birth;

}  // namespace

KTSTR_TEST(passes, duration = 1s) {
    int six = 6;
    KTSTR_CHECK(six == 6);
    KTSTR_REQUIRE(six < 7);
}

KTSTR_TEST(passes_without_a_check, duration = 1s) {}

KTSTR_TEST(fails_a_check, duration = 1s) {
    int six = 6;
    KTSTR_CHECK(six == 7);
    KTSTR_CHECK(six == 6);
}

KTSTR_TEST(fails_a_check_with_a_text, duration = 1s) {
    int six = 6;
    KTSTR_INFO("in turn {}", 3);
    KTSTR_CHECK(six == 7, "the number of {}", "legs");
}

KTSTR_TEST(ends_at_a_require, duration = 1s) {
    int six = 6;
    KTSTR_REQUIRE(six == 7);
    ::raise(SIGSEGV);
}

KTSTR_TEST(fails_in_a_forked_child, duration = 1s) {
    const pid_t child = ::fork();
    if (child == 0) {
        KTSTR_CHECK(1 == 2);
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
}

// The child returns from the body; the parent is not done. Only the parent's end is the body's.
KTSTR_TEST(a_forked_child_returns, duration = 1s) {
    const pid_t child = ::fork();
    KTSTR_REQUIRE(child >= 0);
    if (child == 0)
        return;
    int status = -1;
    KTSTR_REQUIRE(::waitpid(child, &status, 0) == child);
    KTSTR_CHECK(status == 0);
    KTSTR_FAIL("the parent went on");
}

// Out of the body, but not the body's end: the parent goes on, and is not what failed.
// A child that has closed everything can't say what became of it; that it threw is known all the same.
KTSTR_TEST(throws_unheard_in_a_forked_child, duration = 1s) {
    const pid_t child = ::fork();
    KTSTR_REQUIRE(child >= 0);
    if (child == 0) {
        ::close_range(3, ~0U, 0);
        throw std::runtime_error("thrown by the child");
    }
    int status = -1;
    KTSTR_CHECK(::waitpid(child, &status, 0) == child);
}

// The program's globals come to life in the body's process, so what they check counts.
KTSTR_TEST(a_global_fails_a_check, duration = 1s, kernel_args = {"KTSTR_TEST_GLOBAL=fails"}) {}
KTSTR_TEST(a_global_passes_a_check, duration = 1s, kernel_args = {"KTSTR_TEST_GLOBAL=passes"}) {}

KTSTR_TEST(throws_in_a_forked_child, duration = 1s) {
    const pid_t child = ::fork();
    KTSTR_REQUIRE(child >= 0);
    if (child == 0)
        throw std::runtime_error("thrown by the child");
    int status = -1;
    KTSTR_REQUIRE(::waitpid(child, &status, 0) == child);
    KTSTR_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

KTSTR_TEST(skips_in_a_forked_child, duration = 1s) {
    const pid_t child = ::fork();
    if (child == 0)
        KTSTR_SKIP("the child would rather not");
    ::waitpid(child, nullptr, 0);
}

// A child that catches what it throws has left nothing.
KTSTR_TEST(catches_in_a_forked_child, duration = 1s) {
    const pid_t child = ::fork();
    if (child == 0) {
        try {
            throw std::runtime_error("caught");
        } catch (const std::exception&) {
            ::_exit(0);
        }
    }
    ::waitpid(child, nullptr, 0);
}

KTSTR_TEST(fails_a_check_and_its_scenario, duration = 1s) {
    KTSTR_CHECK(1 == 2);
    throw scenario_error("no cgroups today");
}

KTSTR_TEST(says_fail, duration = 1s) {
    KTSTR_FAIL("the reason given");
}

KTSTR_TEST(says_skip, duration = 1s) {
    KTSTR_SKIP("not today");
}

// Texts of any length.
KTSTR_TEST(skips_at_length, duration = 1s) {
    KTSTR_SKIP("at length " + std::string(100'000, 's'));
}

KTSTR_TEST(throws_at_length, duration = 1s) {
    throw std::runtime_error("at length " + std::string(100'000, 't'));
}

KTSTR_TEST(fails_at_length, duration = 1s) {
    const std::string left(100'000, 'l'), right(100'000, 'r');
    KTSTR_CHECK(left == right);
    KTSTR_FAIL("at length " + std::string(100'000, 'f'));
}

// What the kernel prints of a scheduler that sleeps where it must not. The body says it for it.
KTSTR_TEST(schedules_while_atomic, duration = 1s) {
    write_to("/dev/kmsg", "<3>BUG: scheduling while atomic: stress/123/0x00000002\n");
}

// And what is nobody's fault, however it looks.
KTSTR_TEST(prints_bugs, duration = 1s) {
    std::puts("BUG: scheduling while atomic: stress/123/0x00000002");
    std::fputs("Oops: 0002 [#1]\n", stderr);
    write_to("/dev/console", "BUG: scheduling while atomic: stress/123/0x00000002\n");
    write_to("/dev/kmsg", "<3>my test: BUG: scheduling while atomic: stress/123/0x00000002\n");
    write_to("/dev/kmsg", "<3>sched: RT throttling activated\n");
}

KTSTR_TEST(warns, duration = 1s) {
    write_to("/dev/kmsg", "<4>WARNING: kernel/sched/core.c:12 at fn+0x1/0x2, CPU#0: a/1\n");
}

KTSTR_TEST(throws, duration = 1s) {
    throw std::runtime_error("thrown on purpose");
}

KTSTR_TEST(throws_an_int, duration = 1s) {
    throw 7;
}

KTSTR_TEST(crashes, duration = 1s) {
    KTSTR_CHECK(1 == 1);
    ::raise(SIGSEGV);
}

KTSTR_TEST(aborts, duration = 1s) {
    std::abort();
}

KTSTR_TEST(exits, duration = 1s) {
    ::_exit(3);
}

KTSTR_TEST(exits_with_zero, duration = 1s) {
    ::_exit(0);
}

KTSTR_TEST(eats_all_memory, duration = 1s, timeout = 60s) {
    for (;;) {
        const std::size_t size = 16U << 20;
        void* page =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED)
            std::memset(page, 1, size);
    }
}

KTSTR_TEST(never_returns, duration = 1s, timeout = 1s) {
    for (;;)
        ::pause();
}

KTSTR_TEST(leaves_processes_behind, duration = 1s) {
    for (int i = 0; i < 4; ++i)
        if (::fork() == 0) {
            ::setsid();
            for (;;)
                ::pause();
        }
}

KTSTR_TEST(panics, duration = 1s) {
    write_to("/proc/sysrq-trigger", "c");
}

KTSTR_TEST(oopses, duration = 1s) {
    // One of them is there: the first where the link is vsock, the second in a clone. The
    // distribution's kernel has both as modules.
    const char* module = "/ktstr/modules/vmw_vsock_virtio_transport.ko";
    if (::access(module, R_OK) != 0)
        module = "/ktstr/modules/virtio_blk.ko";
    if (::access(module, R_OK) != 0)
        KTSTR_SKIP("no module is packed for this machine");
    const auto image = module_that_oopses(module);
    const pid_t child = ::fork();
    if (child == 0) {
        ::syscall(SYS_init_module, image.data(), image.size(), "");
        ::_exit(errno);  // the kernel refused it; an oops does not return
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    KTSTR_CHECK(WIFSIGNALED(status));
}

KTSTR_TEST(powers_off, duration = 1s) {
    ::syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
}

// The kernel's own stall detector, given something real to find: a real-time hog on every CPU, with
// the throttle and the deadline servers that protect against it switched off.
KTSTR_TEST(stalls_rcu, cores = 2, duration = 1s, timeout = 60s,
           kernel_args = {"rcupdate.rcu_cpu_stall_timeout=3"}) {
    write_to("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    write_to("/sys/kernel/debug/sched/fair_server/cpu0/runtime", "0");
    write_to("/sys/kernel/debug/sched/fair_server/cpu1/runtime", "0");
    // A grace period must be under way when its kthread is starved, so somebody always waits for one.
    std::thread([] {
        for (;;)
            ::syscall(SYS_membarrier, 1 /* MEMBARRIER_CMD_GLOBAL */, 0, 0);
    }).detach();
    std::atomic<int> ready{0};
    const auto hog = [&ready](int cpu) {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(static_cast<std::size_t>(cpu), &only);
        ::sched_setaffinity(0, sizeof only, &only);
        const sched_param priority{.sched_priority = 80};
        ::sched_setscheduler(0, SCHED_FIFO, &priority);
        // Together: a hog alone would keep the other from its start.
        for (++ready; ready < 2;)
            ::usleep(1000);
        const auto end = std::chrono::steady_clock::now() + 5s;
        while (std::chrono::steady_clock::now() < end) {
        }
    };
    // Whether a grace period is under way at the moment the hogs begin is chance. Between two of them
    // there is nothing to stall, so they let go and begin again until the kernel has spoken.
    const int messages = ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
    KTSTR_REQUIRE(messages >= 0);
    for (bool reported = false; !reported;) {
        ready = 0;
        std::thread one(hog, 0), other(hog, 1);
        one.join();
        other.join();
        char record[8192];
        for (ssize_t n = 0; (n = ::read(messages, record, sizeof record)) != 0;) {
            if (n < 0 && errno != EPIPE)
                break;
            reported =
                reported ||
                (n > 0 &&
                 std::string_view(record, static_cast<std::size_t>(n)).find("rcu: INFO: rcu_") !=
                     std::string_view::npos);
        }
        ::usleep(100'000);
    }
}

KTSTR_TEST(writes_100_mb, duration = 1s, timeout = 60s) {
    const std::string line(1023, 'x');
    for (int i = 0; i < 100 * 1024; ++i)
        std::puts(line.c_str());
    KTSTR_CHECK(1 == 2);
}

KTSTR_TEST(sends_garbage, duration = 1s) {
    const int link = steal_link();
    KTSTR_REQUIRE(link >= 0);
    const std::string garbage(4096, '\xa5');
    KTSTR_REQUIRE(::write(link, garbage.data(), garbage.size()) > 0);
    for (;;)
        ::pause();
}

KTSTR_TEST(sends_an_endless_frame, duration = 1s) {
    const int link = steal_link();
    KTSTR_REQUIRE(link >= 0);
    // A header as the host expects it, announcing 4 GiB.
    const unsigned char header[16] = {'K',  'T',  'R',  '1',  4, 0, 0, 0,
                                      0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    KTSTR_REQUIRE(::write(link, header, sizeof header) == sizeof header);
    for (;;)
        ::pause();
}

KTSTR_TEST(measures, duration = 1s) {
    ctx.metric("from/body", 123.4, "1/s", better::higher);
    std::thread([&] { ctx.metric("from.thread", -0.00012, "s", better::lower); }).join();
    const pid_t child = ::fork();
    if (child == 0) {
        ctx.metric("from_child", 1e300);
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    for (int i = 0; i < 200; ++i)
        ctx.metric("again", i);
}

KTSTR_TEST(measures_and_crashes, duration = 1s) {
    ctx.metric("before", 7);
    ::raise(SIGSEGV);
}

KTSTR_TEST(measures_what_is_no_number, duration = 1s) {
    volatile double zero = 0;
    ctx.metric("quotient", zero / zero);
    ctx.metric("Quotient", 1);
    ctx.metric("sound", 1);
}

KTSTR_TEST(on_the_host_measures, host_only, duration = 1s) {
    ctx.metric("here", 2);
}

KTSTR_TEST(expected_to_fail_and_fails, duration = 1s, expect_fail) {
    KTSTR_CHECK(1 == 2);
}

KTSTR_TEST(expected_to_fail_and_passes, duration = 1s, expect_fail) {
    KTSTR_CHECK(1 == 1);
}

// No check fails in these: what is promised is that one does, not that anything goes wrong.
KTSTR_TEST(expected_to_fail_and_throws, duration = 1s, expect_fail) {
    throw std::runtime_error("thrown on purpose");
}

KTSTR_TEST(expected_to_fail_and_panics, duration = 1s, expect_fail) {
    KTSTR_CHECK(1 == 2);
    write_to("/proc/sysrq-trigger", "c");
}

KTSTR_TEST(requires_kvm_here, duration = 1s, requires_kvm) {
    KTSTR_FAIL("must not run");
}

KTSTR_TEST(wants_more_host_cpus_than_there_are, cores = 8, cpu_budget = 8, no_perf_mode,
           duration = 1s) {}

KTSTR_TEST(on_the_host_passes, host_only, duration = 1s) {
    KTSTR_CHECK(::getpid() != 1);
}

/// A process that outlives whoever waits for its parent's end.
static void leave_somebody_behind() {
    if (::fork() == 0) {
        ::setsid();
        ::fork();
        for (;;)
            ::pause();
    }
}

KTSTR_TEST(on_the_host_kills_its_keeper, host_only, duration = 1s) {
    leave_somebody_behind();
    ::kill(::getppid(), SIGKILL);
    for (;;)
        ::pause();
}

KTSTR_TEST(on_the_host_leaves_processes_and_waits, host_only, duration = 1s, timeout = 300s,
           tags = {"interrupted"}) {
    leave_somebody_behind();
    std::puts("somebody is there");
    for (;;)
        ::pause();
}

KTSTR_TEST(on_the_host_leaves_processes_behind, host_only, duration = 1s) {
    leave_somebody_behind();
}

KTSTR_TEST(on_the_host_crashes, host_only, duration = 1s) {
    ::raise(SIGSEGV);
}

KTSTR_TEST(on_the_host_never_returns, host_only, duration = 1s, timeout = 1s) {
    leave_somebody_behind();
    for (;;)
        ::pause();
}
