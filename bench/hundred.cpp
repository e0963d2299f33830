// SPDX-License-Identifier: MIT
// A hundred tests with nothing in them, and one that stays for a while, for clones.py.
#include <ktstr/ktstr.hpp>

#include <unistd.h>

#define KTSTR_BENCH_TEN(n)      \
    KTSTR_TEST(empty_##n##0) {} \
    KTSTR_TEST(empty_##n##1) {} \
    KTSTR_TEST(empty_##n##2) {} \
    KTSTR_TEST(empty_##n##3) {} \
    KTSTR_TEST(empty_##n##4) {} \
    KTSTR_TEST(empty_##n##5) {} \
    KTSTR_TEST(empty_##n##6) {} \
    KTSTR_TEST(empty_##n##7) {} \
    KTSTR_TEST(empty_##n##8) {} \
    KTSTR_TEST(empty_##n##9) {}

KTSTR_BENCH_TEN(0)
KTSTR_BENCH_TEN(1)
KTSTR_BENCH_TEN(2)
KTSTR_BENCH_TEN(3)
KTSTR_BENCH_TEN(4)
KTSTR_BENCH_TEN(5)
KTSTR_BENCH_TEN(6)
KTSTR_BENCH_TEN(7)
KTSTR_BENCH_TEN(8)
KTSTR_BENCH_TEN(9)

KTSTR_TEST(eight, llcs = 2, cores = 4) {}

#ifdef KTSTR_BENCH_EDITED  // the next build: a body changed and a test more
KTSTR_TEST(one_more) {
    KTSTR_CHECK(::getpid() > 1);
}
#endif

KTSTR_TEST(stays, timeout = std::chrono::minutes{10}) {
    ::pause();  // until its machine is taken away
}
