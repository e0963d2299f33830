// SPDX-License-Identifier: MIT
// A value or an error: each is made, moved, replaced and destroyed exactly once.
#include <ktstr/base/result.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using ktstr::plain_error;
using ktstr::result;

namespace {

/// Knows how many of it there are.
struct counted {
    static inline int alive = 0;
    std::string text;

    explicit counted(std::string of) : text(std::move(of)) { ++alive; }
    counted(const counted& other) : text(other.text) { ++alive; }
    counted(counted&& other) noexcept : text(std::move(other.text)) { ++alive; }
    counted& operator=(const counted&) = default;
    counted& operator=(counted&&) = default;
    ~counted() { --alive; }
};

result<counted> good(const char* text) {
    return counted(text);
}
result<counted> bad(const char* reason) {
    return plain_error("do", "it", reason);
}

}  // namespace

TEST_CASE("a result holds what it was made from") {
    const auto yes = good("a value long enough to be on the heap, whatever the library");
    REQUIRE(yes);
    CHECK(yes.has_value());
    CHECK(yes->text.ends_with("library"));
    const auto no = bad("of this");
    REQUIRE_FALSE(no);
    CHECK(no.error().message() == "cannot do it: of this");
    CHECK(result<int>(3).value_or(4) == 3);
    CHECK(result<int>(plain_error("do", "it", "x")).value_or(4) == 4);
}

TEST_CASE("an error is made of texts in whatever they are, and keeps them") {
    const auto made = [] {
        const std::string what = "open", hint = "look";
        return plain_error(what, std::filesystem::path("/a b"),
                           std::string_view("gone for good").substr(0, 4), hint + " there");
    }();
    CHECK(made.message() == "cannot open /a b: gone; look there");
    CHECK(made.code == 0);
    errno = ENOENT;
    const auto of_errno = ktstr::system_error("open", std::string(40, 'x'));
    CHECK(of_errno.code == ENOENT);
    CHECK(of_errno.message() ==
          "cannot open " + std::string(40, 'x') + ": No such file or directory");
    CHECK(ktstr::system_error("open", {}, "y", EPERM).message() ==
          "cannot open: Operation not permitted; y");
}

TEST_CASE("copied, moved and assigned in every combination") {
    REQUIRE(counted::alive == 0);
    {
        for (const bool from_good : {true, false})
            for (const bool to_good : {true, false}) {
                const auto from = from_good ? good("from") : bad("from");
                auto copied = from;
                auto to = to_good ? good("to") : bad("to");
                to = from;
                REQUIRE(to.has_value() == from_good);
                auto moved_to = to_good ? good("to") : bad("to");
                moved_to = std::move(copied);
                for (const auto* one : {&from, &std::as_const(to), &std::as_const(moved_to)})
                    CHECK((*one ? (*one)->text : one->error().reason) == "from");
                const auto& same = to;
                to = same;
                CHECK((to ? to->text : to.error().reason) == "from");
            }
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("a value that can only be moved") {
    result<std::unique_ptr<int>> one(std::make_unique<int>(7));
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
    auto two = std::move(one);
    REQUIRE(two);
    CHECK(**two == 7);
    const auto out = *std::move(two);
    CHECK(*out == 7);
    STATIC_REQUIRE(std::is_nothrow_move_constructible_v<result<std::unique_ptr<int>>>);
    std::vector<result<std::string>> many;  // moves them when it grows
    for (int i = 0; i < 100; ++i)
        many.emplace_back(std::to_string(i));
    CHECK(*many.front() == "0");
    std::optional<result<std::string>> later;
    later = result<std::string>("x");
    CHECK(**later == "x");
}

TEST_CASE("who does not look is told, in every build") {
    CHECK_THROWS(bad("x").value());
    CHECK_THROWS((void)good("x").error());
    CHECK(counted::alive == 0);
}
