// SPDX-License-Identifier: MIT
// zoo FAULT [TIMEOUT_MS]: the user-space half of zoo.bpf.c, with faults of its own. Like any scheduler's loader it
// knows nothing of the harness: it opens, loads and attaches, and stays until SIGINT or SIGTERM. Faults of the BPF half
// strike from SIGUSR1 on; SIGUSR2 makes it write what the kernel told it about its end into /tmp/zoo-record.
// In this order: the skeleton needs the type of the record.
// clang-format off
#include "zoo_record.h"
#include "zoo.skel.h"
// clang-format on

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifdef KTSTR_LINKED_SCHEDULER
int scheduler_library();
#endif

namespace {

// In the order of enum zoo_fault.
constexpr const char* faults[] = {
    "none",       "error_bpf", "exit_bpf",   "wrong_cpu", "bad_select", "stall",
    "fail_init",  "reject",    "no_dsq",     "twice",     "vtime",      "two_orders",
    "wrong_task", "bad_flags", "bad_kick",   "two_kicks", "bad_perf",   "moves_none",
    "no_idle",    "restart",   "long_words", "odd_words"};
// Those of this half.
constexpr const char* own_faults[] = {
    "forks_and_exits", "never_attaches",    "crashes", "leaves",
    "floods",          "ignores_signals",   "partial", "eats_memory",
    "comes_back",      "leaves_when_woken", "spins",   "complains"};

int say(libbpf_print_level level, const char* format, va_list args) {
    return level == LIBBPF_DEBUG ? 0 : std::vfprintf(stderr, format, args);
}

void write_record(const zoo_record& record) {
    std::ofstream out("/tmp/zoo-record.new");
    out << record.kind << '\n'
        << record.code << '\n'
        << record.reason << '\n'
        << record.message << '\n'
        << record.dump;
    out.close();
    std::rename("/tmp/zoo-record.new", "/tmp/zoo-record");
}

/// Returns when somebody sets the wall clock: a machine that was saved hears its new one when it wakes.
void wait_for_another_time() {
    const int clock = ::timerfd_create(CLOCK_REALTIME, 0);
    itimerspec far{};
    ::clock_gettime(CLOCK_REALTIME, &far.it_value);
    far.it_value.tv_sec += 1'000'000'000;
    ::timerfd_settime(clock, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, nullptr);
    std::uint64_t rings = 0;
    (void)!::read(clock, &rings, sizeof rings);
}

/// Until there is none, and somebody ends this process for it.
void eat_memory() {
    constexpr std::size_t piece = std::size_t{1} << 20;
    for (;;)
        if (void* const more = std::malloc(piece))
            std::memset(more, 1, piece);
}

}  // namespace

int main(int argc, char** argv) {
#ifdef KTSTR_LINKED_SCHEDULER
    if (scheduler_library() != 42)
        return 4;
#endif
    const std::string_view wanted = argc > 1 ? argv[1] : "none";
    int fault = -1;
    for (int i = 0; i < static_cast<int>(std::size(faults)); ++i)
        if (wanted == faults[i])
            fault = i;
    for (const std::string_view own : own_faults)
        if (wanted == own)
            fault = 0;
    if (fault < 0) {
        std::fprintf(stderr,
                     "%s: unrecognized fault '%s'\nusage: %s FAULT [TIMEOUT_MS]\n  one of "
                     "zoo.cpp's faults\n",
                     argv[0], argv[1], argv[0]);
        return 1;
    }
    if (wanted == "forks_and_exits" && ::fork() != 0)
        return 0;
    sigset_t news;
    sigemptyset(&news);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2})
        sigaddset(&news, signal);
    ::sigprocmask(SIG_BLOCK, &news, nullptr);
    libbpf_set_print(say);
    zoo_bpf* const zoo = zoo_bpf__open();
    if (zoo == nullptr)
        return 1;
    zoo->rodata->fault = fault;
    zoo->rodata->cpus = libbpf_num_possible_cpus();
    if (wanted == "partial")
        zoo->struct_ops.zoo->flags |= 1U << 3;  // SCX_OPS_SWITCH_PARTIAL
    if (wanted != "no_idle")
        zoo->struct_ops.zoo->update_idle = nullptr;
    if (argc > 2)
        zoo->struct_ops.zoo->timeout_ms = static_cast<unsigned>(std::atoi(argv[2]));
    if (zoo_bpf__load(zoo) != 0)
        return 1;
    if (wanted == "never_attaches")
        for (;;)
            ::pause();
    bpf_link* link = bpf_map__attach_struct_ops(zoo->maps.zoo);
    if (link == nullptr) {
        std::fprintf(stderr, "%s: cannot attach: %s\n", argv[0], std::strerror(errno));
        return 1;
    }
    // Where the kernel's own would be, of a kind that it says once and never again.
    if (wanted == "complains")
        std::ofstream("/dev/kmsg") << "<4>WARNING: possible circular locking dependency detected\n";
    std::printf("attached\n");
    std::fflush(stdout);
    if (wanted == "leaves_when_woken") {
        wait_for_another_time();
        return 3;
    }
    const std::string flood(65536, '~');
    for (;;) {
        const timespec no_wait{};
        const int signal = wanted == "floods" || wanted == "spins"
                               ? ::sigtimedwait(&news, nullptr, &no_wait)
                               : ::sigwaitinfo(&news, nullptr);
        if (signal == SIGUSR1) {
            if (wanted == "crashes")
                std::raise(SIGSEGV);
            if (wanted == "leaves")
                return 3;
            if (wanted == "eats_memory")
                eat_memory();
            // As loaders do that restart when the kernel has thrown them out.
            if (wanted == "comes_back") {
                bpf_link__destroy(link);
                link = bpf_map__attach_struct_ops(zoo->maps.zoo);
            }
            zoo->data->armed = 1;
        } else if (signal == SIGUSR2) {
            write_record(zoo->data_record->record);
        } else if (signal > 0 && wanted != "ignores_signals") {
            break;
        } else if (wanted == "floods") {
            (void)!::write(2, flood.data(), flood.size());
        }
    }
    bpf_link__destroy(link);
    zoo_bpf__destroy(zoo);
    return 0;
}
