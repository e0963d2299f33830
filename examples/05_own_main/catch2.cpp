// SPDX-License-Identifier: MIT
// Catch2 runs the cells: each is a section of one of its test cases. A word of ktstr's command line comes as
// `own_main_catch2 --ktstr=--accel --ktstr=tcg`.
#include <ktstr/embed.hpp>

#include <catch2/catch_session.hpp>
#include <catch2/catch_test_macros.hpp>

#include <string>

namespace {

ktstr::run_options& how() {
    static ktstr::run_options options;
    return options;
}

TEST_CASE("addition of its own") {
    CHECK(1 + 1 == 2);
}

TEST_CASE("ktstr") {
    const auto cells = ktstr::list_cells(how());
    INFO((cells ? "" : cells.error().message()));
    REQUIRE(cells);
    for (const auto& cell : *cells)
        DYNAMIC_SECTION(cell.name) {
            const auto result = ktstr::run_cell(cell.name, how());
            if (result.verdict == ktstr::verdict::skip)
                SKIP(result.text);
            INFO(to_text(result.ending)
                 << ", " << (result.verdict ? to_text(*result.verdict) : "no verdict") << ", "
                 << to_text(result.reason) << '\n'
                 << result.text);
            CHECK(result.passed());
        }
}

}  // namespace

int main(int argc, char** argv) {
    if (const auto status = ktstr::take_role(argc, argv))
        return *status;
    Catch::Session session;
    session.cli(session.cli() | Catch::Clara::Opt(how().arguments, "word")["--ktstr"](
                                    "a word of ktstr's command line; repeatable"));
    if (const int wrong = session.applyCommandLine(argc, argv))
        return wrong;
    return session.run();
}
