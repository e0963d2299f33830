// SPDX-License-Identifier: MIT
#include <ktstr/host/machine/console_watch.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

using namespace ktstr;
using namespace ktstr::host;

namespace {

/// Lines as kernels print them, behind the time stamp. At least one for each row of the table.
struct spoken {
    std::string_view line;
    ktstr::reason reason;
};
constexpr auto panic = reason::panic, oops = reason::oops, lockup = reason::lockup;
constexpr spoken words[] = {
    {"Kernel panic - not syncing: sysrq triggered crash", panic},
    {"traps: PANIC: double fault, error_code: 0x0", panic},
    {"Oops: 0002 [#1] PREEMPT SMP", oops},
    {"Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP", oops},
    {"general protection fault, probably for non-canonical address 0x1: 0000 [#1] PREEMPT", oops},
    {"segment-related general protection fault: 0000 [#1] PREEMPT SMP", oops},
    {"invalid opcode: 0000 [#1] PREEMPT SMP", oops},
    {"divide error: 0000 [#1] PREEMPT SMP", oops},
    {"overflow: 0000 [#1] PREEMPT SMP", oops},
    {"bounds: 0000 [#1] PREEMPT SMP", oops},
    {"int3: 0000 [#1] PREEMPT SMP", oops},
    {"stack segment: 0000 [#1] PREEMPT SMP", oops},
    {"segment not present: 0000 [#1] PREEMPT SMP", oops},
    {"invalid TSS: 0000 [#1] PREEMPT SMP", oops},
    {"double fault: 0000 [#1] PREEMPT SMP", oops},
    {"stack guard page: 0000 [#1] PREEMPT SMP", oops},
    {"BUG: TASK stack guard page was hit at 00000000a (stack is 0..1)", oops},
    {"BUG: kernel NULL pointer dereference, address: 0000000000000010", oops},
    {"BUG: unable to handle page fault for address: ffffffffff600000", oops},
    {"Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000", oops},
    {"Internal error: Oops: 0000000096000044 [#1] PREEMPT SMP", oops},
    {"Oops[#1]:", oops},
    {"kernel BUG at kernel/sched/core.c:1234!", oops},
    {"Fixing recursive fault but reboot is needed!", oops},
    {"BUG: scheduling while atomic: stress/123/0x00000002", oops},
    {"BUG: scheduling in a non-blocking section: a/1/1", oops},
    {"BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580", oops},
    {"BUG: assuming atomic context at kernel/sched/ext.c:1", oops},
    {"BUG: assuming non migratable context at kernel/sched/ext.c:1", oops},
    {"corrupted preempt_count: a/1/0x2", oops},
    {"BUG: using smp_processor_id() in preemptible [00000000] code: a/1", oops},
    {"BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/9", oops},
    {"BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[9]", oops},
    {"softirq: huh, entered softirq 7 SCHED 0000 with preempt_count 00000100, exited with 0?",
     oops},
    {"BUG: spinlock bad magic on CPU#1, a/1", oops},
    {"BUG: rwlock bad magic on CPU#1, a/1, 0", oops},
    {"rtmutex deadlock detected", oops},
    {"WARNING: possible circular locking dependency detected", oops},
    {"WARNING: possible recursive locking detected", oops},
    {"WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", oops},
    {"WARNING: inconsistent lock state", oops},
    {"WARNING: possible irq lock inversion dependency detected", oops},
    {"[ BUG: Invalid wait context ]", oops},
    {"WARNING: Nested lock was not taken", oops},
    {"WARNING: bad unlock balance detected!", oops},
    {"WARNING: bad contention detected!", oops},
    {"WARNING: held lock freed!", oops},
    {"WARNING: a/1 still has locks held!", oops},
    {"WARNING: lock held when returning to user space!", oops},
    {"WARNING: suspicious RCU usage", oops},
    {"INFO: trying to register non-static key.", oops},
    {"BUG: KASAN: slab-use-after-free in pick_next_task_fair+0x1/0x2", oops},
    {"KASAN: null-ptr-deref in range [0x0000000000000000-0x0000000000000007]", oops},
    {"BUG: KCSAN: data-race in a / b", oops},
    {"BUG: KMSAN: uninit-value in a", oops},
    {"BUG: KFENCE: use-after-free read in a", oops},
    {"UBSAN: array-index-out-of-bounds in kernel/sched/fair.c:1:2", oops},
    {"list_add corruption. prev is NULL.", oops},
    {"list_add double add: new=1, prev=1, next=2.", oops},
    {"list_del corruption, 0000000000000001->next is LIST_POISON1 (dead000000000100)", oops},
    {"refcount_t: underflow; use-after-free.", oops},
    {"ODEBUG: free active (active state 0) object: 0 object type: timer_list", oops},
    {"BUG: Bad page state in process a  pfn:00001", oops},
    {"BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:1", oops},
    {"BUG kmalloc-64 (Not tainted): Redzone overwritten", oops},
    {"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]", lockup},
    {"BUG: soft lockup - CPU#1 stuck for 22s! [a:1]", lockup},
    {"watchdog: Watchdog detected hard LOCKUP on cpu 1", lockup},
    {"watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1", lockup},
    {"NMI watchdog: Watchdog detected hard LOCKUP on cpu 1", lockup},
    {"BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 31s!", lockup},
    {"INFO: task stress:123 blocked for more than 120 seconds.", lockup},
    {"INFO: task stress:123 blocked in I/O wait for more than 120 seconds.", lockup},
    {"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", lockup},
    {"rcu: INFO: rcu_sched self-detected stall on CPU", lockup},
    {"rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }", lockup},
    {"INFO: rcu_sched self-detected stall on CPU", lockup},
    {"INFO: rcu_tasks detected stalls on tasks:", lockup},
    {"rcu: rcu_preempt kthread starved for 5000 jiffies! g1 f0x0 RCU_GP_WAIT_FQS(5)", lockup},
    {"rcu: rcu_sched kthread timer wakeup didn't happen for 5000 jiffies! g1", lockup},
    {"csd: Detected non-responsive CSD lock (#1) on CPU#0, waiting 5000000000 ns", lockup},
};

/// What is about none of that, and looks like it.
constexpr std::string_view quiet[] = {
    "mtrr: your CPUs had inconsistent fixed MTRR settings",
    "rcu: Hierarchical RCU implementation.",
    "rcu: INFO: Stall ended before state dump start",
    "rcu: \tRCU CPU stall warnings timeout set to 21 (rcu_cpu_stall_timeout).",
    "sched: RT throttling activated",
    "sched_ext: Soft lockup - CPU 1 stuck for 22s, disabling BPF scheduler",
    "sched_ext: BPF scheduler \"simple\" disabled (runtime error)",
    "WARNING: CPU: 0 PID: 1 at kernel/sched/core.c:12 fn+0x1/0x2",
    "WARNING: kernel/sched/core.c:12 at fn+0x1/0x2, CPU#0: a/1",
    "WARNING: Flushing system-wide workqueues will be prohibited in near future.",
    "workqueue: fn hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "INFO: NMI handler (fn) took too long to run: 1.000 msecs",
    "INFO: task a:1 is blocked on a mutex likely owned by task b:2.",
    "INFO: lockdep is turned off.",
    "BUG: arch topology borken",
    "BUG: MAX_LOCKDEP_ENTRIES too low!",
    "traps: a.out[12] general protection fault ip:1 sp:2 error:0 in a.out[1+2]",
    "traps: a.out[12] trap invalid opcode ip:1 sp:2 error:0 in a.out[1+2]",
    "traps: a.out[12] trap divide error ip:1 sp:2 error:0 in a.out[1+2]",
    "BUG[12]: segfault at 0 ip 1 sp 2 error 4 in BUG[1+2]",
    "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable",
    "watchdog: Delayed init of the lockup detector failed: -19",
    "UBSAN: ",
    "a test printed: Kernel panic - not syncing",
    "[ no end",
    "",
};

}  // namespace

TEST_CASE("a kernel's own words about its end are recognised", "[console]") {
    for (const auto& one : words) {
        INFO(one.line);
        const std::string line(one.line);
        CHECK(sign_of("[   10.100000] " + line) == one.reason);
        CHECK(sign_of("[12345.100000][    T1] " + line) == one.reason);
        CHECK(sign_of("[    0.000000][   C12] " + line) == one.reason);
    }
    // Every row has its line, so that none is misspelt.
    for (const auto& sign : console_signs) {
        INFO(sign.begins << "..." << sign.later);
        CHECK(std::any_of(std::begin(words), std::end(words), [&sign](const spoken& one) {
            return one.line.starts_with(sign.begins) && one.reason == sign.reason &&
                   one.line.find(sign.later, sign.begins.size()) != std::string_view::npos;
        }));
    }
}

TEST_CASE("ordinary lines are no sign", "[console]") {
    for (const std::string_view line : quiet) {
        INFO(line);
        CHECK_FALSE(sign_of("[   10.100000] " + std::string(line)));
        CHECK_FALSE(sign_of("[   10.100000][    T1] " + std::string(line)));
        CHECK_FALSE(sign_of(line));
    }
    // What has no time stamp is not the kernel's: a program prints what it likes.
    for (const auto& one : words) {
        INFO(one.line);
        CHECK_FALSE(sign_of(one.line));
        CHECK_FALSE(sign_of("my test: " + std::string(one.line)));
        CHECK_FALSE(sign_of("[test 1] " + std::string(one.line)));
        CHECK_FALSE(sign_of("[   10.100000] my test: " + std::string(one.line)));
    }
}

TEST_CASE("the kernel's words are found in a line that others began", "[console]") {
    CHECK(sign_of("half a line of a program[   10.1] BUG: scheduling while atomic: a/1/0x2") ==
          oops);
    // Two CPUs, the second in a panic.
    CHECK(sign_of("[   10.1] BUG: scheduling whi[   10.2] Kernel panic - not syncing: x") == panic);
    CHECK(sign_of("[   10.1] BUG: scheduling while atomic: a/1/0x2[   10.2] note: a") == oops);
    console_watch watch;
    watch.feed(std::string(5000, 'x') + "[   10.1] Kernel panic - not syncing: x");
    CHECK(watch.sign() == panic);
}

TEST_CASE("a machine that dies does not end its line", "[console]") {
    console_watch watch;
    watch.feed("[ 1.0] BUG: scheduling while");
    CHECK_FALSE(watch.sign());
    watch.feed(" atomic: a/1");
    CHECK(watch.sign() == oops);
    watch.feed("/0x2");
    CHECK(watch.sign_line() == "[ 1.0] BUG: scheduling while atomic: a/1/0x2");
    watch.feed("\n[ 2.0] Oops: 0002 [#1]\n");
    CHECK(watch.sign_line() == "[ 1.0] BUG: scheduling while atomic: a/1/0x2");
}

TEST_CASE("a warning of the kernel's is kept, and is no sign", "[console]") {
    console_watch watch;
    watch.feed(
        "[ 1.0] WARNING: Flushing system-wide workqueues will be prohibited\nWARNING: at CPU\n");
    CHECK(watch.warning_line().empty());
    watch.feed("[ 2.0] WARNING: kernel/sched/core.c:12 at fn+0x1/0x2, CPU#0: a/1\n");
    watch.feed("[ 3.0] WARNING: CPU: 0 PID: 1 at kernel/sched/core.c:13 fn+0x1/0x2\n");
    CHECK(watch.warning_line().starts_with("[ 2.0] WARNING: kernel/sched"));
    CHECK_FALSE(watch.sign());
}

TEST_CASE("the worst sign counts, whatever comes later", "[console]") {
    console_watch watch;
    watch.feed("[ 1.0] watchdog: BUG: soft lockup - CPU#1\n");
    CHECK(watch.sign() == reason::lockup);
    watch.feed("[ 2.0] Oops: 0002 [#1]\n[ 3.0] rcu: INFO: rcu_sched self-detected stall\n");
    CHECK(watch.sign() == reason::oops);
    CHECK(watch.sign_line() == "[ 2.0] Oops: 0002 [#1]");
}

TEST_CASE("lines may arrive in pieces", "[console]") {
    console_watch watch;
    watch.feed("[ 1.0] Kernel pa");
    CHECK_FALSE(watch.sign());
    watch.feed("nic - not syncing: x\r\nktstr-guest: cannot open the li");
    CHECK(watch.sign() == reason::panic);
    watch.feed("nk\n");
    CHECK(watch.harness_line() == "cannot open the link");
}

TEST_CASE("the tail is the last lines, oldest first", "[console]") {
    console_watch watch;
    watch.feed("a\r\nb\nc");
    CHECK(watch.tail(2) == std::vector<std::string>{"b", "c"});
    CHECK(watch.tail(9) == std::vector<std::string>{"a", "b", "c"});
    CHECK(console_watch().tail(3).empty());
}

TEST_CASE("a console without end is bounded", "[console]") {
    console_watch watch;
    const std::string block(1U << 20, 'x');
    for (int i = 0; i < 20; ++i)
        watch.feed(block);
    CHECK(watch.text().size() == console_watch::limit);
    CHECK(watch.dropped() == (std::size_t{20} << 20) - console_watch::limit);
    watch.feed("\n[ 1.0] Kernel panic - not syncing: late\n");
    CHECK(watch.sign() == reason::panic);
}

TEST_CASE("an oops for a trap that is not there is told from all others", "[console]") {
    const auto ran_replaced_code = [](std::string_view text) {
        console_watch whole, piecemeal;
        whole.feed(text);
        for (const char c : text)
            piecemeal.feed({&c, 1});
        CHECK(whole.ran_replaced_code() == piecemeal.ran_replaced_code());
        return whole.ran_replaced_code();
    };
    const std::string trap =
        "[    5.186700] Oops: int3: 0000 [#1] SMP NOPTI\r\n"
        "[    5.186955] RIP: 0010:__schedule+0x643/0x1080\r\n";
    const std::string nop =
        "[    5.186969] Code: 2e ff d0 85 c0 75 2b 48 8d 0f <1f> 44 00 00 e9 91\r\n";
    const std::string stays =
        "[    5.186969] Code: 2e ff d0 85 c0 75 2b 48 8d cc <1f> 44 00 00 e9 91\r\n";
    const std::string panics =
        "[    5.187194] Kernel panic - not syncing: Fatal exception in interrupt\r\n";
    CHECK(ran_replaced_code(trap + nop + panics));
    CHECK(ran_replaced_code("[ 1.0] int3: 0000 [#1] SMP\n" + nop));  // before 6.8
    CHECK(!ran_replaced_code(trap + stays + panics));
    CHECK(!ran_replaced_code(trap + panics));  // the code was not shown
    CHECK(!ran_replaced_code(nop + panics));
    // What went wrong before may be the cause.
    CHECK(!ran_replaced_code("[ 1.0] Oops: general protection fault [#1]\n" + nop));
    CHECK(!ran_replaced_code("[ 1.0] BUG: Bad page map\n" + trap + nop));
    CHECK(!ran_replaced_code("[ 1.0] BUG: Bad page map\n" + nop));
    // Of two dumps of code the first is the one of the trap.
    CHECK(!ran_replaced_code(trap + stays + nop));
    CHECK(!ran_replaced_code(trap + "[ 5.2] Code: <1f> 44\n" + panics));
}
