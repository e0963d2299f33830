// SPDX-License-Identifier: MIT
/* A sched_ext scheduler with faults to order, for tests of what the harness makes of them. It is correct as
 * long as `fault` is none, or `armed` is 0: a weighted global queue, and an idle CPU where there is one. Needs
 * vmlinux.h of the kernel and two headers of libbpf. Inside the machine, in the kernel. */
#define BPF_NO_KFUNC_PROTOTYPES /* some versions of bpftool write them into vmlinux.h, others do not */
/* In this order: all others need the types of the first. */
// clang-format off
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on

#include "zoo_record.h"

char _license[] SEC("license") = "Dual MIT/GPL";

enum zoo_fault {
    zoo_none,
    zoo_error_bpf,  /* says so itself */
    zoo_exit_bpf,   /* ends itself, with code 42 */
    zoo_wrong_cpu,  /* puts a task where it may not run */
    zoo_bad_select, /* names a CPU that there is none of */
    zoo_stall,      /* forgets the tasks called "victim" */
    zoo_fail_init,  /* does not want to start */
    zoo_reject,     /* only where the verifier sees it */
    zoo_no_dsq,     /* queues a task where nothing is */
    zoo_twice,      /* queues a task twice */
    zoo_vtime,      /* wants order by vruntime in a queue of the kernel's own */
    zoo_two_orders, /* mixes the two orders in one queue */
    zoo_wrong_task, /* queues another task than the one it is given */
    zoo_bad_flags,  /* queues with flags that there are none of */
    zoo_bad_kick,   /* kicks a CPU that there is none of */
    zoo_two_kicks,  /* kicks in two ways that exclude each other */
    zoo_bad_perf,   /* wants more of a CPU than it has */
    zoo_moves_none, /* takes tasks from a queue that there is none of */
    zoo_no_idle,    /* asks the kernel for what it has told it not to keep */
    zoo_restart,    /* ends itself, with a code that asks to be started again */
    zoo_long_words, /* says more than a record holds */
    zoo_odd_words   /* says what is no text */
};

const volatile int fault = zoo_none;
const volatile int cpus = 1;
const volatile char victim[8] = "victim";

int armed SEC(".data") = 0;
unsigned long long enqueued SEC(".data") = 1;
struct zoo_record record SEC(".data.record");

static u64 virtual_now;

#define SHARED 1
#define NOWHERE 4711
#define SLICE 20000000ULL

s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
void scx_bpf_dsq_insert(struct task_struct* p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym;
void scx_bpf_dsq_insert_vtime(struct task_struct* p, u64 dsq_id, u64 slice, u64 vtime,
                              u64 enq_flags) __ksym;
bool scx_bpf_dsq_move_to_local(u64 dsq_id) __ksym;
s32 scx_bpf_select_cpu_dfl(struct task_struct* p, s32 prev_cpu, u64 wake_flags,
                           bool* is_idle) __ksym;
void scx_bpf_error_bstr(char* fmt, unsigned long long* data, u32 data__sz) __ksym;
void scx_bpf_exit_bstr(s64 code, char* fmt, unsigned long long* data, u32 data__sz) __ksym;
bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask* cpumask) __ksym;
void scx_bpf_kick_cpu(s32 cpu, u64 flags) __ksym;
void scx_bpf_cpuperf_set(s32 cpu, u32 perf) __ksym;
bool scx_bpf_test_and_clear_cpu_idle(s32 cpu) __ksym;

static __always_inline bool strikes(int which) {
    return fault == which && armed;
}

static __always_inline bool is_victim(struct task_struct* p) {
    for (int i = 0; i < 6; ++i)
        if (p->comm[i] != victim[i])
            return false;
    return true;
}

SEC("struct_ops/zoo_select_cpu")
s32 BPF_PROG(zoo_select_cpu, struct task_struct* p, s32 prev_cpu, u64 wake_flags) {
    bool idle = false;
    if (strikes(zoo_bad_select))
        return 100000;
    if (fault == zoo_stall || fault == zoo_wrong_cpu || fault > zoo_reject) {
        if (armed || fault == zoo_no_idle)
            return prev_cpu; /* so that each task is queued by what follows */
    }
    s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
    if (idle)
        scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE, 0);
    return cpu;
}

SEC("struct_ops/zoo_enqueue")
void BPF_PROG(zoo_enqueue, struct task_struct* p, u64 enq_flags) {
    u64 n = __sync_fetch_and_add(&enqueued, 1);
    if (strikes(zoo_error_bpf)) {
        static char text[] = "on purpose, says \"%s\"";
        unsigned long long args[] = {(unsigned long long)"zoo"};
        scx_bpf_error_bstr(text, args, sizeof(args));
        return;
    }
    if (strikes(zoo_exit_bpf)) {
        static char text[] = "enough at %llu";
        unsigned long long args[] = {7};
        scx_bpf_exit_bstr(42, text, args, sizeof(args));
    }
    if (fault == zoo_reject) {
        u64* nowhere = (u64*)(n & 8);
        *nowhere = 1;
    }
    if (strikes(zoo_restart)) {
        static char text[] = "once more";
        unsigned long long none = 0;
        /* SCX_ECODE_ACT_RESTART, beside a number of its own */
        scx_bpf_exit_bstr((1LL << 48) | 7, text, &none, 0);
    }
    if (strikes(zoo_long_words)) {
        static char text[] = "%s and so on: %s%s%s%s%s%s%s%s%s";
        static const char words[] =
            "a hundred characters and a score are a long sentence, and ten of them are more than a "
            "record of the "
            "kernel's can have";
        unsigned long long one = (unsigned long long)words;
        unsigned long long args[] = {one, one, one, one, one, one, one, one, one, one};
        scx_bpf_error_bstr(text, args, sizeof(args));
        return;
    }
    if (strikes(zoo_odd_words)) {
        static char text[] = "tab\there, bell %c, bar | quote \" and more";
        unsigned long long args[] = {7};
        scx_bpf_error_bstr(text, args, sizeof(args));
        return;
    }
    if (strikes(zoo_no_dsq)) {
        scx_bpf_dsq_insert(p, NOWHERE, SLICE, enq_flags);
        return;
    }
    if (strikes(zoo_twice))
        scx_bpf_dsq_insert(p, SHARED, SLICE, enq_flags);
    if (strikes(zoo_two_orders) && n & 1) {
        scx_bpf_dsq_insert(p, SHARED, SLICE, enq_flags);
        return;
    }
    if (strikes(zoo_vtime)) {
        scx_bpf_dsq_insert_vtime(p, SCX_DSQ_GLOBAL, SLICE, 1, enq_flags);
        return;
    }
    if (strikes(zoo_wrong_task)) {
        struct task_struct* other = bpf_get_current_task_btf();
        if (other != p)
            scx_bpf_dsq_insert(other, SHARED, SLICE, enq_flags);
    }
    if (strikes(zoo_bad_flags)) {
        scx_bpf_dsq_insert(p, SHARED, SLICE, 1ULL << 33);
        return;
    }
    if (strikes(zoo_bad_kick))
        scx_bpf_kick_cpu(100000, 0);
    if (strikes(zoo_two_kicks))
        scx_bpf_kick_cpu(0, SCX_KICK_IDLE | SCX_KICK_PREEMPT);
    if (strikes(zoo_bad_perf))
        scx_bpf_cpuperf_set(0, 5000);
    if (strikes(zoo_no_idle))
        scx_bpf_test_and_clear_cpu_idle(0);
    if (strikes(zoo_stall) && is_victim(p))
        return;
    if (strikes(zoo_wrong_cpu) && is_victim(p))
        for (int cpu = 0; cpu < 64 && cpu < cpus; ++cpu)
            if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
                scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | cpu, SLICE, enq_flags);
                return;
            }
    u64 vtime = p->scx.dsq_vtime;
    if ((s64)(vtime - (virtual_now - SLICE)) < 0)
        vtime = virtual_now - SLICE;
    scx_bpf_dsq_insert_vtime(p, SHARED, SLICE, vtime, enq_flags);
}

SEC("struct_ops/zoo_dispatch")
void BPF_PROG(zoo_dispatch, s32 cpu, struct task_struct* prev) {
    scx_bpf_dsq_move_to_local(strikes(zoo_moves_none) ? NOWHERE : SHARED);
}

SEC("struct_ops/zoo_running")
void BPF_PROG(zoo_running, struct task_struct* p) {
    if ((s64)(virtual_now - p->scx.dsq_vtime) < 0)
        virtual_now = p->scx.dsq_vtime;
}

SEC("struct_ops/zoo_stopping")
void BPF_PROG(zoo_stopping, struct task_struct* p, bool runnable) {
    p->scx.dsq_vtime += (SLICE - p->scx.slice) * 100 / p->scx.weight;
}

/* Attached for zoo_no_idle alone: whoever has this keeps account of idle CPUs by itself. */
SEC("struct_ops/zoo_update_idle")
void BPF_PROG(zoo_update_idle, s32 cpu, bool idle) {}

SEC("struct_ops/zoo_enable")
void BPF_PROG(zoo_enable, struct task_struct* p) {
    p->scx.dsq_vtime = virtual_now;
}

SEC("struct_ops.s/zoo_init")
s32 BPF_PROG(zoo_init) {
    return fault == zoo_fail_init ? -22 : scx_bpf_create_dsq(SHARED, -1);
}

SEC("struct_ops/zoo_exit")
void BPF_PROG(zoo_exit, struct scx_exit_info* end) {
    bpf_probe_read_kernel_str(record.reason, sizeof(record.reason), end->reason);
    bpf_probe_read_kernel_str(record.message, sizeof(record.message), end->msg);
    bpf_probe_read_kernel_str(record.dump, sizeof(record.dump), end->dump);
    record.code = end->exit_code;
    record.kind = end->kind;
    __sync_fetch_and_add(&record.seen, 1);
}

#ifdef ZOO_OF_ANOTHER_KERNEL
SEC("struct_ops/zoo_of_another_kernel")
s32 BPF_PROG(zoo_of_another_kernel) {
    return 0;
}
#endif

SEC(".struct_ops.link")
struct sched_ext_ops zoo = {
    .select_cpu = (void*)zoo_select_cpu,
    .enqueue = (void*)zoo_enqueue,
    .dispatch = (void*)zoo_dispatch,
    .running = (void*)zoo_running,
    .stopping = (void*)zoo_stopping,
    .update_idle = (void*)zoo_update_idle,
    .enable = (void*)zoo_enable,
    .init = (void*)zoo_init,
    .exit = (void*)zoo_exit,
#ifdef ZOO_OF_ANOTHER_KERNEL
    .of_another_kernel = (void*)zoo_of_another_kernel,
#endif
    .timeout_ms = 5000,
    .name = ZOO_NAME,
};
