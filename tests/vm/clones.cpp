// SPDX-License-Identifier: MIT
// What a clone must be: a machine of its own, running the current program. Read by clones.py, which
// compares what several clones of one template say.
#include <ktstr/ktstr.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

using namespace ktstr;

// The same program before and after an edit.
#ifndef KTSTR_CLONES_BUILD
#    define KTSTR_CLONES_BUILD 1
#endif

namespace {

std::string first_line(const char* path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
}

std::uint64_t random_number() {
    std::uint64_t number = 0;
    KTSTR_REQUIRE(::getrandom(&number, sizeof number, 0) == sizeof number);
    return number;
}

// What a program draws and sees before its main(), as the globals of a test file do.
struct seen_at_start {
    unsigned number = std::random_device{}();
    bool proc = ::access("/proc/self/stat", R_OK) == 0;
    int pid = ::getpid();
};
const seen_at_start at_start;

[[gnu::noinline]] unsigned long stack_canary() {
#if defined(__x86_64__)
    unsigned long canary = 0;
    asm volatile("movq %%fs:0x28, %0" : "=r"(canary));
    return canary;
#else
    return random_number();
#endif
}

unsigned long random_bytes() {
    unsigned long bytes = 0;
    std::memcpy(&bytes, reinterpret_cast<const void*>(::getauxval(AT_RANDOM)), sizeof bytes);
    return bytes;
}

/// Memory that every clone has from its template, and that this one writes to.
std::vector<unsigned char> scratch(std::size_t{8} << 20, 0x5a);

}  // namespace

KTSTR_TEST(identity) {
    char program[256] = {};
    KTSTR_REQUIRE(::readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    std::printf("random %016llx\n", static_cast<unsigned long long>(random_number()));
    std::printf("boot_id %s\n", first_line("/proc/sys/kernel/random/boot_id").c_str());
    std::printf("uuid %s\n", first_line("/proc/sys/kernel/random/uuid").c_str());
    std::printf("clock %lld\n", static_cast<long long>(std::time(nullptr)));
    std::printf("program %s\n", program);
    std::printf("build %d\n", KTSTR_CLONES_BUILD);
    std::printf("global %08x\n", at_start.number);
    std::printf("canary %016lx\n", stack_canary());
    std::printf("at_random %016lx\n", random_bytes());
    std::printf("code %p\n", reinterpret_cast<void*>(&stack_canary));
    KTSTR_CHECK(at_start.proc);
    KTSTR_CHECK(at_start.pid == ::getpid());
}

KTSTR_TEST(same_pages) {
    // What another clone of the same template left would be here.
    KTSTR_CHECK(::access("/tmp/mark", F_OK) != 0);
    bool untouched = true;
    for (const unsigned char byte : scratch)
        untouched = untouched && byte == 0x5a;
    KTSTR_CHECK(untouched);
    const auto number = random_number();
    std::ofstream("/tmp/mark") << number;
    for (std::size_t at = 0; at + sizeof number <= scratch.size(); at += sizeof number)
        std::memcpy(&scratch[at], &number, sizeof number);
    // Others run at the same time and write the same pages; they must not be seen.
    for (int i = 0; i < 20; ++i) {
        ::usleep(20'000);
        bool mine = true;
        for (std::size_t at = 0; at + sizeof number <= scratch.size(); at += sizeof number)
            mine = mine && std::memcmp(&scratch[at], &number, sizeof number) == 0;
        KTSTR_REQUIRE(mine);
    }
    KTSTR_CHECK(first_line("/tmp/mark") == std::to_string(number));
}

KTSTR_TEST(boots_cold, no_clone) {}

KTSTR_TEST(nodes, numa_nodes = 2, llcs = 2, cores = 1) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 2);
}

KTSTR_TEST(fails) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 3);
}

KTSTR_TEST(crashes) {
    ::_exit(7);
}

#if KTSTR_CLONES_BUILD > 1
// Known to this build alone.
KTSTR_TEST(added) {
    KTSTR_CHECK(registered_tests().size() > 1);
}
#endif
