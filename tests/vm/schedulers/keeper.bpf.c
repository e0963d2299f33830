// SPDX-License-Identifier: MIT
/* A correct sched_ext scheduler that keeps all kinds of things: globals in every section, nested and anonymous structs,
 * arrays, per-CPU arrays and hashes, with values that tests know, and counters that go on. Needs vmlinux.h of the
 * kernel and two headers of libbpf. Inside the machine, in the kernel. */
#define BPF_NO_KFUNC_PROTOTYPES /* some versions of bpftool write them into vmlinux.h, others do not */
/* In this order: all others need the types of the first. */
// clang-format off
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on

char _license[] SEC("license") = "Dual MIT/GPL";

enum keeper_mood { keeper_calm, keeper_busy = 7 };

struct keeper_stats {
    u64 enqueued;
    s32 below_zero;
    enum keeper_mood mood;
    struct {
        u64 hits;
        u64 misses;
    } local;
    struct {
        u32 in_nameless;
    };
    char label[16];
    u16 small[4];
    u32 narrow : 3;
    bool on;
};

struct keeper_slot {
    u64 hits;
    u32 cpu;
    u32 pad;
};

struct keeper_pair {
    u32 one;
    u32 other;
};

const volatile u32 of_rodata = 20000;
u64 limit SEC(".data") = 7;
u64 seen_limit;
u64 nr_enqueued;
struct keeper_stats stats SEC(".data.keeper") = {.mood = keeper_busy};
u64 many[100];

#define KEEPER_MAP(NAME, TYPE, ENTRIES, KEY, VALUE) \
    struct {                                        \
        __uint(type, TYPE);                         \
        __uint(max_entries, ENTRIES);               \
        __type(key, KEY);                           \
        __type(value, VALUE);                       \
    } NAME SEC(".maps")

KEEPER_MAP(counts, BPF_MAP_TYPE_ARRAY, 4, u32, u64);
KEEPER_MAP(slots, BPF_MAP_TYPE_ARRAY, 2, u32, struct keeper_slot);
KEEPER_MAP(on_each_cpu, BPF_MAP_TYPE_PERCPU_ARRAY, 2, u32, struct keeper_slot);
KEEPER_MAP(a_hash_with_a_long_name, BPF_MAP_TYPE_HASH, 8, u64, struct keeper_slot);
KEEPER_MAP(of_pairs, BPF_MAP_TYPE_HASH, 8, struct keeper_pair, u32);
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} news SEC(".maps");

#define SHARED 1

s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
void scx_bpf_dsq_insert(struct task_struct* p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym;
bool scx_bpf_dsq_move_to_local(u64 dsq_id) __ksym;

SEC("struct_ops/keeper_enqueue")
void BPF_PROG(keeper_enqueue, struct task_struct* p, u64 enq_flags) {
    u32 first = 0;
    __sync_fetch_and_add(&nr_enqueued, 1);
    __sync_fetch_and_add(&stats.enqueued, 1);
    seen_limit = limit;
#ifdef KEEPER_REFUSED
    *(u64*)(limit & 8) = 1;
#endif
    u64* count = bpf_map_lookup_elem(&counts, &first);
    if (count)
        __sync_fetch_and_add(count, 1);
    struct keeper_slot* mine = bpf_map_lookup_elem(&on_each_cpu, &first);
    if (mine) {
        mine->hits++;
        mine->cpu = bpf_get_smp_processor_id();
    }
    scx_bpf_dsq_insert(p, SHARED, (u64)of_rodata * 1000, enq_flags);
}

SEC("struct_ops/keeper_dispatch")
void BPF_PROG(keeper_dispatch, s32 cpu, struct task_struct* prev) {
    scx_bpf_dsq_move_to_local(SHARED);
}

SEC("struct_ops.s/keeper_init")
s32 BPF_PROG(keeper_init) {
    u32 second = 1, value = 5;
    u64 wide = 1ULL << 40;
    struct keeper_slot slot = {.hits = 22, .cpu = 3};
    struct keeper_pair pair = {.one = 1, .other = 2};
    bpf_map_update_elem(&slots, &second, &slot, BPF_ANY);
    bpf_map_update_elem(&a_hash_with_a_long_name, &wide, &slot, BPF_ANY);
    bpf_map_update_elem(&of_pairs, &pair, &value, BPF_ANY);
    void* const one = bpf_ringbuf_reserve(&news, 8, 0);
    if (one)
        bpf_ringbuf_discard(one, 0);
    stats.below_zero = -5;
    stats.local.hits = 11;
    stats.local.misses = 1;
    stats.in_nameless = 77;
    stats.small[2] = 300;
    stats.narrow = 5;
    stats.on = true;
    __builtin_memcpy(stats.label, "a keeper", 9);
    many[99] = 1;
    return scx_bpf_create_dsq(SHARED, -1);
}

#ifdef KEEPER_OF_ANOTHER_KERNEL
SEC("struct_ops/keeper_of_another_kernel")
s32 BPF_PROG(keeper_of_another_kernel) {
    return 0;
}
#endif

#ifdef KEEPER_TWICE
SEC(".struct_ops.link")
struct sched_ext_ops keeper_twin = {
    .enqueue = (void*)keeper_enqueue,
    .dispatch = (void*)keeper_dispatch,
    .init = (void*)keeper_init,
    .name = "twin",
};
#endif

#ifndef KEEPER_NOTHING
SEC(".struct_ops.link")
struct sched_ext_ops keeper = {
#    ifdef KEEPER_OF_ANOTHER_KERNEL
    .of_another_kernel = (void*)keeper_of_another_kernel,
#    endif
    .enqueue = (void*)keeper_enqueue,
    .dispatch = (void*)keeper_dispatch,
    .init = (void*)keeper_init,
    .timeout_ms = 20000,
    .name = "keeper",
};
#endif
