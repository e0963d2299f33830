// SPDX-License-Identifier: MIT
/* A small sched_ext scheduler to learn from and to test with: one queue for all CPUs, ordered by how long each task
 * has run, divided by its weight; a task that wakes goes straight to an idle CPU where there is one.
 * `ktstr bpf build examples/schedulers/ktstr_simple.bpf.c -o ktstr_simple` makes the program that loads it.
 * Inside the machine, in the kernel, which takes it as "Dual MIT/GPL". */
#define BPF_NO_KFUNC_PROTOTYPES /* some versions of bpftool write them into vmlinux.h, others do not */
/* In this order: all others need the types of the first. */
// clang-format off
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on

char _license[] SEC("license") = "Dual MIT/GPL";

/* What of the kernel is called from here. */
s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
void scx_bpf_dsq_insert(struct task_struct* p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym;
void scx_bpf_dsq_insert_vtime(struct task_struct* p, u64 dsq_id, u64 slice, u64 vtime,
                              u64 enq_flags) __ksym;
bool scx_bpf_dsq_move_to_local(u64 dsq_id) __ksym;
s32 scx_bpf_select_cpu_dfl(struct task_struct* p, s32 prev_cpu, u64 wake_flags,
                           bool* is_idle) __ksym;

/* The queue's number, of our own choice, and how long a task may run in one go. */
#define SHARED 1
#define SLICE 20000000ULL /* ns */

/* Why the scheduler ended, which the program prints at its end. It looks for the global called uei. */
struct end_record {
    int kind;
    s64 exit_code;
    char reason[128];
    char msg[1024];
};
struct end_record uei SEC(".data");

/* The virtual time of the task that came furthest. CPUs write it side by side, and the odd lost step only
 * makes the next one longer. */
static u64 virtual_now;

static __always_inline bool is_before(u64 one, u64 other) {
    return (s64)(one - other) < 0;
}

SEC("struct_ops/simple_select_cpu")
s32 BPF_PROG(simple_select_cpu, struct task_struct* p, s32 prev_cpu, u64 wake_flags) {
    bool idle = false;
    s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
    if (idle)
        scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE, 0);
    return cpu;
}

SEC("struct_ops/simple_enqueue")
void BPF_PROG(simple_enqueue, struct task_struct* p, u64 enq_flags) {
    /* Who slept for long has saved up one slice, not all of that time. */
    u64 vtime = p->scx.dsq_vtime;
    if (is_before(vtime, virtual_now - SLICE))
        vtime = virtual_now - SLICE;
    scx_bpf_dsq_insert_vtime(p, SHARED, SLICE, vtime, enq_flags);
}

SEC("struct_ops/simple_dispatch")
void BPF_PROG(simple_dispatch, s32 cpu, struct task_struct* prev) {
    scx_bpf_dsq_move_to_local(SHARED);
}

SEC("struct_ops/simple_running")
void BPF_PROG(simple_running, struct task_struct* p) {
    if (is_before(virtual_now, p->scx.dsq_vtime))
        virtual_now = p->scx.dsq_vtime;
}

SEC("struct_ops/simple_stopping")
void BPF_PROG(simple_stopping, struct task_struct* p, bool runnable) {
    /* What is left of the slice was not used. A weight of 100 is that of a nice value of 0. */
    p->scx.dsq_vtime += (SLICE - p->scx.slice) * 100 / p->scx.weight;
}

SEC("struct_ops/simple_enable")
void BPF_PROG(simple_enable, struct task_struct* p) {
    p->scx.dsq_vtime = virtual_now;
}

SEC("struct_ops.s/simple_init")
s32 BPF_PROG(simple_init) {
    return scx_bpf_create_dsq(SHARED, -1);
}

SEC("struct_ops/simple_exit")
void BPF_PROG(simple_exit, struct scx_exit_info* end) {
    bpf_probe_read_kernel_str(uei.reason, sizeof(uei.reason), end->reason);
    bpf_probe_read_kernel_str(uei.msg, sizeof(uei.msg), end->msg);
    uei.exit_code = end->exit_code;
    uei.kind = end->kind;
}

SEC(".struct_ops.link")
struct sched_ext_ops simple = {
    .select_cpu = (void*)simple_select_cpu,
    .enqueue = (void*)simple_enqueue,
    .dispatch = (void*)simple_dispatch,
    .running = (void*)simple_running,
    .stopping = (void*)simple_stopping,
    .enable = (void*)simple_enable,
    .init = (void*)simple_init,
    .exit = (void*)simple_exit,
    .timeout_ms = 5000,
    .name = "ktstr_simple",
};
