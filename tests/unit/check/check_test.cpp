// SPDX-License-Identifier: MIT
#include <ktstr/base/result.hpp>
#include <ktstr/check/check.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/topology/topology.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "recorder.hpp"

namespace ktstr::detail {

void report_check(const check_record& r) {
    records().push_back({r.passed, std::string(r.kind), std::string(r.file),
                         std::string(r.expression), std::string(r.expansion), r.line,
                         std::string(r.message), std::string(r.info)});
}
void end_body_failed() {
    throw body_failed{};
}
void end_body_skipped(std::string_view why, std::string_view file, int line) {
    throw body_skipped{std::string(why), std::string(file), line};
}

}  // namespace ktstr::detail

using namespace std::chrono_literals;

// A failed KTSTR_CHECK must have this expansion, a passed one none.
#define FAILS(EXPANSION, ...)                \
    do {                                     \
        KTSTR_CHECK(__VA_ARGS__);            \
        const kept_record r = only_record(); \
        CHECK_FALSE(r.passed);               \
        CHECK(r.expansion == (EXPANSION));   \
    } while (false)
#define PASSES(...)                          \
    do {                                     \
        KTSTR_CHECK(__VA_ARGS__);            \
        const kept_record r = only_record(); \
        CHECK(r.passed);                     \
        CHECK(r.expansion.empty());          \
    } while (false)

TEST_CASE("a failed check shows the expression and both values") {
    const int six = 6;
    KTSTR_CHECK(six == 7);
    const int line = __LINE__ - 1;
    const kept_record r = only_record();
    CHECK_FALSE(r.passed);
    CHECK(r.kind == "CHECK");
    CHECK(r.expression == "six == 7");
    CHECK(r.expansion == "6 == 7");
    CHECK(r.line == line);
    CHECK(r.file == __FILE__);
}

TEST_CASE("a passed check is reported, without text") {
    const int six = 6;
    KTSTR_CHECK(six == 6);
    const kept_record r = only_record();
    CHECK(r.passed);
    CHECK(r.expression == "six == 6");
    CHECK(r.expansion.empty());
}

TEST_CASE("every comparison, both ways") {
    const int one = 1;
    const int two = 2;
    PASSES(one == 1);
    PASSES(one != two);
    PASSES(one < two);
    PASSES(one <= two);
    PASSES(one <= 1);
    PASSES(two > one);
    PASSES(two >= one);
    FAILS("1 == 2", one == two);
    FAILS("1 != 1", one != 1);
    FAILS("2 < 1", two < one);
    FAILS("2 <= 1", two <= one);
    FAILS("1 > 2", one > two);
    FAILS("1 >= 2", one >= two);
}

TEST_CASE("arithmetic and shifts stay on their side of the comparison") {
    const int a = 3;
    const int b = 4;
    PASSES(a + b == 7);
    FAILS("7 == 8", a + b == 2 * b);
    FAILS("24 < 3", a << 3 < a);
    FAILS("-3 == 3", -a == a);
    FAILS("1 > 2", b % a > 2);
}

TEST_CASE("integers of different signs are compared by value") {
    const int minus = -1;
    const unsigned one = 1;
    const std::uint64_t big = std::numeric_limits<std::uint64_t>::max();
    PASSES(minus < one);
    PASSES(one > minus);
    PASSES(minus != big);
    PASSES(big > minus);
    FAILS("-1 == 18446744073709551615", minus == big);
    FAILS("18446744073709551615 <= -1", big <= minus);
    FAILS("-1 >= 1", minus >= one);
    FAILS("1 < -1", one < minus);
    const std::uint64_t five = 5;
    PASSES(five == 5);
    PASSES(5 == five);
    FAILS("5 == 6", five == 6);
    PASSES(std::vector<int>{1, 2}.size() == 2);
    const signed char small = -1;
    const unsigned short wide = 65535;
    PASSES(small < wide);
    FAILS("-1 == 65535", small == wide);
    PASSES(std::numeric_limits<std::int64_t>::min() < std::size_t{0});
    FAILS("-9223372036854775808 > 0", std::numeric_limits<std::int64_t>::min() > std::size_t{0});
}

TEST_CASE("booleans, alone and compared") {
    const bool yes = true;
    const bool no = false;
    PASSES(yes);
    PASSES(!no);
    PASSES(yes == true);
    FAILS("false", no);
    FAILS("false", !yes);
    FAILS("true == false", yes == no);
}

TEST_CASE("logic inside an expression is a plain condition") {
    const int a = 1;
    const bool no = false;
    PASSES(a == 1 && !no);
    PASSES(no || a == 1);
    PASSES(a == 1 ? true : no);
    FAILS("false", a == 1 && no);
    FAILS("false", a && no);
    FAILS("false", no || a == 2);
    FAILS("true == false", (a == 1) == no);
    FAILS("0", a ? 0 : 1);
    int calls = 0;
    const auto call = [&] { return ++calls > 0; };
    FAILS("false", no && call());
    CHECK(calls == 0);  // short circuit survives
}

TEST_CASE("bits inside an expression") {
    const unsigned flags = 6;
    PASSES(flags & 2U);
    PASSES((flags & 2U) == 2);
    PASSES(flags | 0U);
    FAILS("0", flags & 1U);
    FAILS("0", flags ^ 6U);
    FAILS("2 == 4", (flags & 2U) == 4);
}

TEST_CASE("operands are evaluated exactly once, passed or failed") {
    int left = 0;
    int right = 0;
    FAILS("1 == 0", ++left == right++);
    CHECK(left == 1);
    CHECK(right == 1);
    PASSES(++left == ++right);
    CHECK(left == 2);
    CHECK(right == 2);
    FAILS("0", left++ - 2);
    CHECK(left == 3);
}

TEST_CASE("commas in templates and calls") {
    PASSES(std::is_same_v<int, int>);
    FAILS("false", std::is_same_v<int, long>);
    FAILS("(1, 2) == (1, 3)", std::pair<int, int>(1, 2) == std::pair<int, int>{1, 3});
    KTSTR_CHECK(std::is_same_v<int, long>);
    CHECK(only_record().expression == "std::is_same_v<int, long>");
}

TEST_CASE("texts are quoted and escaped") {
    const std::string a = "one";
    const char* b = "two";
    const std::string_view c = "three";
    FAILS("\"one\" == \"two\"", a == b);
    FAILS("\"three\" == \"one\"", c == a);
    FAILS("\"one\" == \"four\"", a == "four");
    FAILS("\"four\" == \"one\"", "four" == a);
    PASSES(a == "one");
    FAILS(R"("a\n\t\"\\\0\x01\x7f" == "")", std::string("a\n\t\"\\\0\x01\x7f", 8) == "");
    FAILS("\"\xc3\xa4\" == \"\"", std::string("\xc3\xa4") == "");
    const char* null = nullptr;
    FAILS("nullptr", null);
    FAILS("\"/etc\" == \"/usr\"", std::filesystem::path("/etc") == std::filesystem::path("/usr"));
}

TEST_CASE("characters") {
    const char a = 'a';
    FAILS("'a' == 'b'", a == 'b');
    FAILS("'\\n' == 'a'", '\n' == a);
    FAILS("'\\'' == 'a'", '\'' == a);
    const std::uint8_t byte = 65;
    FAILS("65 == 66", byte == 66);
}

TEST_CASE("floating point, the shortest text that reads back") {
    const double tenth = 0.1;
    FAILS("0.1 == 0.2", tenth == 0.2);
    FAILS("0.30000000000000004 == 0.3", 0.1 + 0.2 == 0.3);
    FAILS("0.1 == 0.2", 0.1F == 0.2F);
    FAILS("1e+300 < 5", 1e300 < 5);
    FAILS("0.5 > 1", tenth * 5 > 1);
    FAILS("-0 > 0", -0.0 > 0.0);
    FAILS("inf < 1", std::numeric_limits<double>::infinity() < 1.0);
    FAILS("nan == nan",
          std::numeric_limits<double>::quiet_NaN() == std::numeric_limits<double>::quiet_NaN());
    FAILS("1.7976931348623157e+308 == 0", std::numeric_limits<double>::max() == 0.0);
    FAILS("5e-324 == 0", std::numeric_limits<double>::denorm_min() == 0.0);
    PASSES(2.0 == 2);
    PASSES(3 > 2.5);
}

TEST_CASE("durations carry their unit") {
    FAILS("5ms > 2s", 5ms > 2s);
    FAILS("1ns == 1us", 1ns == 1us);
    FAILS("1min == 1h", 1min == 1h);
    FAILS("1.5s < 1ms", std::chrono::duration<double>(1.5) < 1ms);
    FAILS("3[1/60]s == 0s", std::chrono::duration<int, std::ratio<1, 60>>(3) == 0s);
    PASSES(1000ms == 1s);
}

enum class colour { red, green };
enum plain : unsigned { first, second };

TEST_CASE("enums show their number, or their own text") {
    const colour c = colour::red;
    FAILS("0 == 1", c == colour::green);
    FAILS("0 == 1", first == second);
    const int minus = -1;
    FAILS("1 == -1", second == minus);
    PASSES(minus < first);
    PASSES(second == 1U);
    FAILS("pass == fail", ktstr::verdict::pass == ktstr::verdict::fail);
}

TEST_CASE("pointers") {
    int x = 0;
    int* p = &x;
    int* none = nullptr;
    PASSES(p);
    PASSES(p != nullptr);
    PASSES(none == nullptr);
    PASSES(nullptr == none);
    PASSES(p != NULL);
    FAILS("nullptr", none);
    FAILS("nullptr != nullptr", none != nullptr);
    FAILS("nullptr != 0", none != NULL);
    KTSTR_CHECK(p == nullptr);
    const std::string text = only_record().expansion;
    CHECK(text.starts_with("0x"));
    CHECK(text.ends_with(" == nullptr"));
    const std::unique_ptr<int> owner;
    FAILS("nullptr != nullptr", owner != nullptr);
    FAILS("nullptr", owner);
}

TEST_CASE("optionals, results and atomics") {
    const std::optional<int> some = 3;
    const std::optional<int> none;
    PASSES(some);
    PASSES(some == 3);
    PASSES(none != some);
    FAILS("nullopt", none);
    FAILS("nullopt == 3", none == 3);
    FAILS("3 == 4", some == std::optional<int>(4));
    FAILS("3 == nullopt", some == none);
    FAILS("3 == 4", 3 == std::optional<int>(4));
    FAILS("3 == {?}", some == std::nullopt);
    const ktstr::result<int> no_number(ktstr::plain_error("read", "it", "no"));
    const ktstr::result<void> done;
    FAILS("error: cannot read it: no", no_number);
    FAILS("error: cannot read it: no", ktstr::result<void>(no_number.error()));
    PASSES(done);
    PASSES(ktstr::result<int>(1));
    const std::atomic<int> counter = 7;
    FAILS("7 == 8", counter == 8);
}

TEST_CASE("ranges show their first elements") {
    const std::vector<int> few{1, 2, 3};
    const std::vector<int> many{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const std::vector<int> eight{1, 2, 3, 4, 5, 6, 7, 8};
    FAILS("{ 1, 2, 3 } == {}", few == std::vector<int>{});
    FAILS("{ 1, 2, 3 } == { 1, 2, 3, 4, 5, 6, 7, 8, ... }", few == many);
    FAILS("{ 1, 2, 3, 4, 5, 6, 7, 8 } != { 1, 2, 3, 4, 5, 6, 7, 8 }", eight != eight);
    FAILS("{ \"a\" } == { \"b\" }", std::vector<std::string>{"a"} == std::vector<std::string>{"b"});
    FAILS("{ (1, \"a\") } == {}",
          std::map<int, std::string>{{1, "a"}} == std::map<int, std::string>{});
    FAILS("{ true } == { false }", std::vector<bool>{true} == std::vector<bool>{false});
}

struct constants {
    static constexpr int value = 3;
};

struct with_member {
    int id;
    std::string to_text() const { return "member " + std::to_string(id); }
    bool operator==(const with_member&) const = default;
};

enum class verdict_like { bad, good };
[[maybe_unused]] static std::string_view to_text(verdict_like v) {
    return v == verdict_like::good ? "good" : "bad";
}

namespace elsewhere {
struct with_free {
    int id;
    bool operator==(const with_free&) const = default;
};
[[maybe_unused]] static std::string to_text(const with_free& w) {
    return "free " + std::to_string(w.id);
}
struct silent {
    int id;
    bool operator==(const silent&) const = default;
    explicit operator bool() const { return id != 0; }
};
struct move_only {
    std::unique_ptr<int> p;
    bool operator==(const move_only& o) const { return p == o.p; }
};
}  // namespace elsewhere

TEST_CASE("types of one's own") {
    FAILS("member 1 == member 2", with_member{1} == with_member{2});
    FAILS("free 1 == free 2", elsewhere::with_free{1} == elsewhere::with_free{2});
    FAILS("{?} == {?}", elsewhere::silent{1} == elsewhere::silent{2});
    FAILS("{?}", elsewhere::silent{0});
    PASSES(elsewhere::move_only{} == elsewhere::move_only{});
    FAILS("1n1l2c1t == 1n2l4c1t",
          ktstr::topology{} == ktstr::topology{.numa_nodes = 1, .llcs = 2, .cores = 4});
    FAILS("0-3,8 == 0", ktstr::cpu_set::of(0, 1, 2, 3, 8) == ktstr::cpu_set::of(0));
}

TEST_CASE("things without an address") {
    struct {
        unsigned low : 3;
        unsigned high : 5;
    } bits{5, 9};
    PASSES(bits.low == 5);
    FAILS("5 == 9", bits.low == bits.high);
    FAILS("3 == 4", constants::value == 4);
}

TEST_CASE("a text is bounded, and the right side keeps its half") {
    const std::string endless(100000, 'x');
    KTSTR_CHECK(endless == "short");
    const std::string left = only_record().expansion;
    CHECK(left.size() <= 512);
    CHECK(left.ends_with("... == \"short\""));
    KTSTR_CHECK(endless == std::string(100000, 'y'));
    const std::string both = only_record().expansion;
    CHECK(both.size() <= 512);
    CHECK(both.size() > 500);
    CHECK(both.find("x... == \"y") != std::string::npos);
    CHECK(both.ends_with("y..."));
}

TEST_CASE("a cut text never ends within a UTF-8 character") {
    for (std::size_t before = 0; before < 4; ++before) {
        std::string text(before, 'a');
        for (int i = 0; i < 300; ++i)
            text += "\xe2\x82\xac";  // three bytes
        KTSTR_CHECK(text == "");
        std::string cut = only_record().expansion;
        const auto end = cut.find("...");
        REQUIRE(end != std::string::npos);
        CHECK((end - 1 - before) % 3 == 0);
    }
}

TEST_CASE("a check's own text, with values in it") {
    const int six = 6;
    const std::string name = "load";
    KTSTR_CHECK(six == 7, "cgroup {} after {} turns", name, 3);
    const kept_record r = only_record();
    CHECK_FALSE(r.passed);
    CHECK(r.expression == "six == 7");
    CHECK(r.expansion == "6 == 7");
    CHECK(r.message == "cgroup load after 3 turns");
    CHECK(r.info.empty());

    KTSTR_CHECK(six == 6, "cgroup {}", name);
    const kept_record passed = only_record();
    CHECK(passed.passed);
    CHECK(passed.expression == "six == 6");
    CHECK(passed.message.empty());

    CHECK_THROWS_AS([&] { KTSTR_REQUIRE(six == 7, "no values"); }(), body_failed);
    CHECK(only_record().message == "no values");
}

TEST_CASE("the text of a check is told from the commas of its expression") {
    const std::vector<std::string> words{"a, b"};
    KTSTR_CHECK(std::is_same_v<int, long>, "template {}", 1);
    CHECK(only_record().expression == "std::is_same_v<int, long>");
    KTSTR_CHECK(std::pair<int, int>(1, 2) == std::pair<int, int>{1, 3}, "pair");
    CHECK(only_record().expression == "std::pair<int, int>(1, 2) == std::pair<int, int>{1, 3}");
    KTSTR_CHECK(words == std::vector<std::string>{"a, b", "c"}, "in braces, {}", ", \"x");
    kept_record r = only_record();
    CHECK(r.expression == "words == std::vector<std::string>{\"a, b\", \"c\"}");
    CHECK(r.message == "in braces, , \"x");
    KTSTR_CHECK(words[0] == ", \"x\"", "quotes");
    r = only_record();
    CHECK(r.expression == "words[0] == \", \\\"x\\\"\"");
    CHECK(r.message == "quotes");
    KTSTR_CHECK(words[0][0] == '"', R"(raw)");
    CHECK(only_record().expression == "words[0][0] == '\"'");
    KTSTR_CHECK(1'000 == 2, "digits");
    CHECK(only_record().expression == "1'000 == 2");
    KTSTR_CHECK(1 == 2 && words.empty(), "a condition");
    r = only_record();
    CHECK(r.expression == "1 == 2 && words.empty()");
    CHECK(r.expansion == "false");
    KTSTR_CHECK(words.empty(), "alone");
    CHECK(only_record().expansion == "false");
}

TEST_CASE("values in a text stand as in a sentence") {
    const auto text = [](const kept_record& r) { return r.message; };
    const char* const none = nullptr;
    KTSTR_CHECK(false, "{} {} {} {}", 'c', "literal", std::string_view("view"), none);
    CHECK(text(only_record()) == "c literal view nullptr");
    KTSTR_CHECK(false, "{}, {}, {}, {}", 5ms, std::vector{1, 2}, true, verdict_like::good);
    CHECK(text(only_record()) == "5ms, { 1, 2 }, true, good");
    KTSTR_CHECK(false, "{{}} {{{}}} 100%", 1);
    CHECK(text(only_record()) == "{} {1} 100%");
    KTSTR_CHECK(false, "{} {}", std::vector<std::string>{"a"}, elsewhere::silent{1});
    CHECK(text(only_record()) == "{ \"a\" } {?}");
    const std::string endless(100000, 'x');
    KTSTR_CHECK(false, "{} end", endless);
    const std::string cut = text(only_record());
    CHECK(cut.size() <= 512);
    CHECK(cut.ends_with("..."));
}

namespace {
int texts_made = 0;
struct counts_its_texts {
    std::string to_text() const { return std::to_string(++texts_made); }
};
}  // namespace

TEST_CASE("nothing becomes text unless a check fails, and values come after the expression") {
    const counts_its_texts value;
    KTSTR_INFO("here {}", value);
    KTSTR_CHECK(1 == 1, "there {}", value);
    KTSTR_REQUIRE(1 == 1, "there {}", value);
    CHECK(texts_made == 0);
    records().clear();
    KTSTR_CHECK(1 == 2, "there {}", value);
    CHECK(texts_made == 2);
    records().clear();

    int n = 0;
    const auto number = [&n] { return n; };
    KTSTR_CHECK(++n == 7, "now {}", number());
    CHECK(only_record().message == "now 1");
}

TEST_CASE("KTSTR_INFO is shown with the failures of its scope and of no other") {
    { KTSTR_INFO("gone {}", 1); }
    for (int cpu = 0; cpu < 3; ++cpu) {
        KTSTR_INFO("cpu {}", cpu);
        KTSTR_CHECK(cpu != 1);
    }
    REQUIRE(records().size() == 3);
    CHECK(records()[0].info.empty());
    CHECK(records()[1].info == "cpu 1");
    records().clear();

    std::string name = "first";
    KTSTR_INFO("outer {}", name);
    name = "second";  // the line says what was true where it stands
    const auto inner = [] {
        KTSTR_INFO("inner");
        KTSTR_CHECK(1 == 2, "text");
    };
    inner();
    kept_record r = only_record();
    CHECK(r.message == "text");
    CHECK(r.info == "outer first\ninner");
    KTSTR_CHECK(1 == 2);
    CHECK(only_record().info == "outer first");
    CHECK_THROWS_AS([&] { KTSTR_FAIL("over"); }(), body_failed);
    CHECK(only_record().info == "outer first");
    std::thread([] { KTSTR_CHECK(1 == 2); }).join();
    CHECK(only_record().info.empty());
    // A scope that an exception leaves takes its line along.
    CHECK_THROWS_AS(
        [&] {
            KTSTR_INFO("thrown");
            KTSTR_REQUIRE(1 == 2);
        }(),
        body_failed);
    CHECK(only_record().info == "outer first\nthrown");
    KTSTR_CHECK(1 == 2);
    CHECK(only_record().info == "outer first");
}

static void nested(int depth) {
    KTSTR_INFO("depth {}", depth);
    if (depth < 20)
        return nested(depth + 1);
    KTSTR_CHECK(depth == 0);
}

TEST_CASE("of many lines the innermost are shown") {
    nested(1);
    const std::string info = only_record().info;
    CHECK(info.starts_with("depth 13\n"));
    CHECK(info.ends_with("\ndepth 20"));
}

static_assert(ktstr::detail::values_wanted("") == 0);
static_assert(ktstr::detail::values_wanted("{}{} {{}} {}") == 3);
static_assert(ktstr::detail::values_wanted("{{{}}}") == 1);
static_assert(ktstr::detail::values_wanted("{") == -1);
static_assert(ktstr::detail::values_wanted("}") == -1);
static_assert(ktstr::detail::values_wanted("{0}") == -1);
static_assert(ktstr::detail::values_wanted("{} }") == -1);

TEST_CASE("a check in a branch without braces") {
    const bool yes = true;
    if (yes)
        KTSTR_CHECK(yes);
    else
        KTSTR_CHECK(!yes);
    if (!yes)
        KTSTR_REQUIRE(!yes);
    else
        KTSTR_REQUIRE(yes);
    CHECK(records().size() == 2);
    records().clear();
}

TEST_CASE("KTSTR_REQUIRE ends the body only when it fails") {
    const int six = 6;
    CHECK_NOTHROW([&] { KTSTR_REQUIRE(six == 6); }());
    CHECK(only_record().kind == "REQUIRE");
    CHECK_THROWS_AS([&] { KTSTR_REQUIRE(six == 7); }(), body_failed);
    const kept_record r = only_record();
    CHECK_FALSE(r.passed);
    CHECK(r.kind == "REQUIRE");
    CHECK(r.expression == "six == 7");
    CHECK(r.expansion == "6 == 7");
}

TEST_CASE("KTSTR_FAIL records its text and ends the body") {
    const std::string text = "built at run time";
    CHECK_THROWS_AS([&] { KTSTR_FAIL(text); }(), body_failed);
    const kept_record r = only_record();
    CHECK_FALSE(r.passed);
    CHECK(r.kind == "FAIL");
    CHECK(r.expression == text);
    CHECK(r.expansion.empty());
    CHECK(r.line > 0);
}

// Both macros end the function, so nothing is missing behind them.
[[maybe_unused]] static int no_return_needed(bool skip) {
    if (skip)
        KTSTR_SKIP("not today");
    KTSTR_FAIL("never");
}

TEST_CASE("KTSTR_FAIL and KTSTR_SKIP take values too") {
    CHECK_THROWS_AS([&] { KTSTR_FAIL("no {} of {}", 1, "them"); }(), body_failed);
    CHECK(only_record().expression == "no 1 of them");
    try {
        KTSTR_SKIP("only {} CPUs", 2);
    } catch (const body_skipped& s) {
        CHECK(s.why == "only 2 CPUs");
        CHECK(s.line == __LINE__ - 3);
    }
    // A text alone is no pattern.
    CHECK_THROWS_AS([&] { KTSTR_FAIL("100 {"); }(), body_failed);
    CHECK(only_record().expression == "100 {");
}

TEST_CASE("KTSTR_SKIP ends the body with its reason") {
    try {
        no_return_needed(true);
        FAIL("the body went on");
    } catch (const body_skipped& s) {
        CHECK(s.why == "not today");
        CHECK(s.file == __FILE__);
        CHECK(s.line > 0);
    }
    CHECK(records().empty());
}

TEST_CASE("an exception from an operand passes through, and nothing is recorded") {
    const auto bad = []() -> int { throw std::string("operand"); };
    CHECK_THROWS_AS([&] { KTSTR_CHECK(bad() == 1); }(), std::string);
    CHECK(records().empty());
}
