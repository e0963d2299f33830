// SPDX-License-Identifier: MIT
// What bench/attached.py times: a body with nothing in it, with and without a scheduler.
#include <ktstr/ktstr.hpp>

constexpr ktstr::scheduler simple{.name = "scx_simple", .binary = "scx_simple"};

KTSTR_TEST(without) {}
KTSTR_TEST(attached, scheduler = simple) {}
KTSTR_TEST(attached_too, scheduler = simple) {}
KTSTR_TEST(fresh, scheduler = simple, fresh_scheduler) {}
