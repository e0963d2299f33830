// SPDX-License-Identifier: MIT
/* Programs for the verifier, attached by nobody: one is in order, one is refused after a loop that it walks through turn by turn,
 * and one is large. Needs vmlinux.h of the kernel and a header of libbpf. */
#define BPF_NO_KFUNC_PROTOTYPES
#include "vmlinux.h"
/* In this order. */
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

u64 seen[64];

SEC("tracepoint/sched/sched_switch")
int in_order(void* ctx) {
    return 0;
}

SEC("tracepoint/sched/sched_switch")
int refused_after_a_loop(void* ctx) {
    u64 sum = 0;
    for (int i = 0; i < 40; ++i) {
        sum += seen[(sum + i) & 63];
        barrier_var(sum);
    }
    u64* nowhere = (u64*)(sum & 8);
    *nowhere = 1;
    return 0;
}

SEC("tracepoint/sched/sched_switch")
int large(void* ctx) {
    u64 sum = bpf_ktime_get_ns();
    for (int i = 0; i < 3000; ++i) {
        sum += seen[(sum + i) & 63];
        barrier_var(sum);
    }
    seen[0] = sum;
    return 0;
}
