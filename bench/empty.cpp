// SPDX-License-Identifier: MIT
// What the benchmarks start: nothing, on two CPUs.
#include <ktstr/ktstr.hpp>

KTSTR_TEST(empty, cores = 2, duration = std::chrono::seconds{1}) {}
