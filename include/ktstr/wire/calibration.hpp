// SPDX-License-Identifier: MIT
// The loop both sides time to learn how much slower the guest's CPU is than the host's. It must be
// the same work on both sides, which is why it lives where they meet, and why it is written in
// instructions: the two sides may be two builds, by two compilers, one of them for debugging. An
// emulator is nearly as fast as the CPU at plain arithmetic and slowest at memory and indirect calls,
// which is what a kernel and a test are made of; so is this.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ktstr::wire {

/// About 0.1 ms on a current CPU, 1 to 2 ms in emulation.
inline constexpr std::uint32_t calibration_rounds = 20'000;

namespace detail {

using calibration_table = std::array<std::uint64_t, 512>;
using calibration_step = std::uint64_t (*)(calibration_table&, std::uint64_t);

template <unsigned Shift>
[[gnu::noinline]] std::uint64_t calibration_visit(calibration_table& table, std::uint64_t x) {
    auto& slot = table[(x >> Shift) % table.size()];
    slot += x;
    return x ^ (slot >> 7);
}

/// What the loop computes: four different functions behind pointers that the compiler can't see through.
/// Its speed is the compiler's; only machines without the instructions below time it.
[[nodiscard]] inline std::uint64_t calibration_in_words(calibration_table& table, std::uint64_t x) {
    volatile calibration_step steps[4] = {calibration_visit<3>, calibration_visit<11>,
                                          calibration_visit<19>, calibration_visit<27>};
    for (std::uint32_t i = 0; i < calibration_rounds; ++i) {
        x ^= x << 13;
        x = steps[i % 4](table, x);
    }
    return x;
}

[[nodiscard]] inline std::uint64_t calibration_run(calibration_table& table, std::uint64_t x) {
#if defined(__x86_64__)
#    define KTSTR_CALIBRATION_VISIT(LABEL, SHIFT)                                                \
        LABEL ":\n\tmovq %%rax, %%rdx\n\tshrq $" SHIFT                                           \
              ", %%rdx\n\tandl $511, %%edx\n\t"                                                  \
              "movq (%%rdi,%%rdx,8), %%r8\n\taddq %%rax, %%r8\n\tmovq %%r8, (%%rdi,%%rdx,8)\n\t" \
              "shrq $7, %%r8\n\txorq %%r8, %%rax\n\tret\n"
    const void* steps[4];
    auto* slots = table.data();
    auto* step = &steps[0];
    // The calls must not write into what the function keeps below its stack pointer.
    asm volatile(
        "leaq -128(%%rsp), %%rsp\n\t"
        "leaq 10f(%%rip), %%rdx\n\tmovq %%rdx, (%%rsi)\n\t"
        "leaq 11f(%%rip), %%rdx\n\tmovq %%rdx, 8(%%rsi)\n\t"
        "leaq 12f(%%rip), %%rdx\n\tmovq %%rdx, 16(%%rsi)\n\t"
        "leaq 13f(%%rip), %%rdx\n\tmovq %%rdx, 24(%%rsi)\n\t"
        "xorl %%ecx, %%ecx\n"
        "1:\n\tmovq %%rax, %%rdx\n\tshlq $13, %%rdx\n\txorq %%rdx, %%rax\n\t"
        "movl %%ecx, %%edx\n\tandl $3, %%edx\n\tcall *(%%rsi,%%rdx,8)\n\t"
        "incl %%ecx\n\tcmpl %[rounds], %%ecx\n\tjne 1b\n\tjmp 2f\n"  //
        KTSTR_CALIBRATION_VISIT("10", "3") KTSTR_CALIBRATION_VISIT("11", "11")
            KTSTR_CALIBRATION_VISIT("12", "19")
                KTSTR_CALIBRATION_VISIT("13", "27") "2:\n\tleaq 128(%%rsp), %%rsp"
        : "+a"(x), "+D"(slots), "+S"(step)
        : [rounds] "i"(calibration_rounds)
        : "rcx", "rdx", "r8", "cc", "memory");
#    undef KTSTR_CALIBRATION_VISIT
    return x;
#elif defined(__aarch64__)
#    define KTSTR_CALIBRATION_VISIT(LABEL, SHIFT)                                                \
        LABEL ":\n\thint #34\n\tlsr x11, x0, #" SHIFT                                            \
              "\n\tand x11, x11, #511\n\t"                                                       \
              "ldr x12, [x1, x11, lsl #3]\n\tadd x12, x12, x0\n\tstr x12, [x1, x11, lsl #3]\n\t" \
              "eor x0, x0, x12, lsr #7\n\tret\n"
    const void* steps[4];
    register std::uint64_t value asm("x0") = x;
    register auto* slots asm("x1") = table.data();
    register auto* step asm("x2") = &steps[0];
    register std::uint64_t rounds asm("x3") = calibration_rounds;
    asm volatile(
        "adr x11, 10f\n\tstr x11, [x2]\n\tadr x11, 11f\n\tstr x11, [x2, #8]\n\t"
        "adr x11, 12f\n\tstr x11, [x2, #16]\n\tadr x11, 13f\n\tstr x11, [x2, #24]\n\t"
        "mov w10, #0\n"
        "1:\n\teor x0, x0, x0, lsl #13\n\tand x11, x10, #3\n\tldr x11, [x2, x11, lsl #3]\n\t"
        "blr x11\n\tadd w10, w10, #1\n\tcmp w10, w3\n\tb.ne 1b\n\tb 2f\n"  //
        KTSTR_CALIBRATION_VISIT("10", "3") KTSTR_CALIBRATION_VISIT("11", "11")
            KTSTR_CALIBRATION_VISIT("12", "19") KTSTR_CALIBRATION_VISIT("13", "27") "2:"
        : "+r"(value), "+r"(slots), "+r"(step), "+r"(rounds)
        :
        : "x10", "x11", "x12", "x30", "cc", "memory");
#    undef KTSTR_CALIBRATION_VISIT
    return value;
#else
    return calibration_in_words(table, x);
#endif
}

}  // namespace detail

[[nodiscard]] inline std::uint64_t calibration_loop(std::uint64_t x) {
    static constinit detail::calibration_table table{};
    return detail::calibration_run(table, x);
}

/// How many times slower the guest is; never below 1, for a limit is never tightened.
[[nodiscard]] inline double dilation_of(std::uint64_t guest_ns, std::uint64_t host_ns) {
    const double ratio = static_cast<double>(guest_ns) / static_cast<double>(host_ns);
    return std::clamp(ratio, 1.0, 1000.0);
}

}  // namespace ktstr::wire
