// SPDX-License-Identifier: MIT
#include <ktstr/check/metric.hpp>

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <string>
#include <string_view>

using namespace ktstr;

TEST_CASE("what is a metric, and what is none", "[metric]") {
    using limits = std::numeric_limits<double>;
    for (const double value : {0.0, -0.0, 1.5, -limits::max(), limits::max(), limits::denorm_min()})
        CHECK(metric_fault({"wakeups_per_s", value, "1/s", better::higher}) == nullptr);
    const std::string longest(64, 'x');
    for (const char* name : {"a", "0", "a/b.c_1", longest.c_str()})
        CHECK(metric_fault({name, 1}) == nullptr);
    CHECK(metric_fault({"a", 1, "1234567890123456"}) == nullptr);

    const auto fault = [](const metric_record& metric) {
        const char* const why = metric_fault(metric);
        return std::string_view(why != nullptr ? why : "none");
    };
    for (const double value : {limits::quiet_NaN(), limits::infinity(), -limits::infinity()})
        CHECK(fault({"a", value}) == "its value is not a finite number");
    CHECK(fault({"", 1}) == "its name has no character or more than 64");
    CHECK(fault({longest + 'x', 1}) == "its name has no character or more than 64");
    for (const std::string_view name : {"A", "a b", "a-b", "\xc3\xa9", "a\n", "\"", "a:"})
        CHECK(fault({name, 1}).starts_with("its name has other characters"));
    for (const std::string_view unit : {"12345678901234567", "a b", "\x1b[2J", "\xc2\xb5s"})
        CHECK(fault({"a", 1, unit}).starts_with("its unit has"));
    CHECK(to_text(better::neither) == "neither");
    CHECK(to_text(better::lower) == "lower");
    CHECK(to_text(better::higher) == "higher");
}
