// SPDX-License-Identifier: MIT
#include <ktstr/topology/cpu_set.hpp>

#include <catch2/catch_test_macros.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using ktstr::cpu_set;
using ktstr::parse_cpu_list;

static_assert(parse_cpu_list("0-3,8") == cpu_set::of(0, 1, 2, 3, 8));
static_assert(cpu_set::range(60, 70).count() == 11);
static_assert(!parse_cpu_list("512").has_value());

TEST_CASE("an empty set") {
    const cpu_set none;
    CHECK(none.empty());
    CHECK(none.count() == 0);
    CHECK(none.first() == -1);
    CHECK(none.last() == -1);
    CHECK_FALSE(none.contains(0));
    CHECK(none.contains(none));
    CHECK(none.begin() == none.end());
    CHECK(to_text(none).empty());
}

TEST_CASE("members, across words") {
    cpu_set set = cpu_set::of(0, 63, 64, 511);
    CHECK(set.count() == 4);
    CHECK(set.first() == 0);
    CHECK(set.last() == 511);
    CHECK(set.contains(63));
    CHECK_FALSE(set.contains(62));
    CHECK_FALSE(set.contains(-1));
    CHECK_FALSE(set.contains(512));
    CHECK(set.next(1) == 63);
    CHECK(set.next(64) == 64);
    CHECK(set.next(65) == 511);
    CHECK(set.next(512) == -1);
    CHECK(set.next(-5) == 0);
    set.remove(511).remove(0).remove(-1).remove(600);
    CHECK(set.last() == 64);
    CHECK(set == cpu_set::range(63, 64));
}

TEST_CASE("a number that is no CPU is refused") {
    cpu_set set;
    CHECK_THROWS_AS(set.add(512), std::out_of_range);
    CHECK_THROWS_AS(set.add(-1), std::out_of_range);
    CHECK_THROWS_AS(set.add(-2147483647 - 1), std::out_of_range);
    CHECK(set.empty());
}

TEST_CASE("iteration rises") {
    const std::vector<int> want{1, 5, 63, 64, 300};
    std::vector<int> got;
    for (const int cpu : cpu_set::of(300, 64, 5, 63, 1))
        got.push_back(cpu);
    CHECK(got == want);
}

TEST_CASE("set algebra") {
    const cpu_set a = cpu_set::range(0, 99);
    const cpu_set b = cpu_set::range(50, 149);
    CHECK((a | b) == cpu_set::range(0, 149));
    CHECK((a & b) == cpu_set::range(50, 99));
    CHECK((a - b) == cpu_set::range(0, 49));
    CHECK(a.contains(a & b));
    CHECK_FALSE(a.contains(b));
    cpu_set c = a;
    c |= b;
    CHECK(c == (a | b));
    c &= a;
    CHECK(c == a);
    c -= b;
    CHECK(c == (a - b));
    CHECK(cpu_set::range(5, 4).empty());
}

TEST_CASE("list notation goes there and back") {
    for (const char* text : {"", "0", "511", "0-3,8", "0-511", "1,3,5", "62-65", "0,2-3,5-511"}) {
        const auto set = parse_cpu_list(text);
        REQUIRE(set.has_value());
        CHECK(to_text(*set) == text);
    }
}

TEST_CASE("list notation as the kernel also writes or takes it") {
    CHECK(parse_cpu_list("0-3\n") == cpu_set::range(0, 3));
    CHECK(parse_cpu_list("\n") == cpu_set{});
    CHECK(parse_cpu_list("8,0-3") == cpu_set::of(0, 1, 2, 3, 8));
    CHECK(parse_cpu_list("0-3,2-5") == cpu_set::range(0, 5));
    CHECK(parse_cpu_list("4-4") == cpu_set::of(4));
    CHECK(parse_cpu_list("007") == cpu_set::of(7));
}

TEST_CASE("lists that are none are refused") {
    for (const char* text :
         {"-",     "1-",   "-1",  "3-1", "1,",     ",1",  "1,,2",  "1 2",
          " 1",    "1 ",   "a",   "0x1", "1-2-3",  "512", "0-512", "99999999999999999999",
          "1\n\n", "1\n2", "1;2", "all", "0-7:1/2"}) {
        INFO(text);
        CHECK_FALSE(parse_cpu_list(text).has_value());
    }
}
