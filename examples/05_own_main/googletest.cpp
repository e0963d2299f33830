// SPDX-License-Identifier: MIT
// GoogleTest runs the cells: each is one of its tests, beside its own. What GoogleTest does not know of the
// command line is ktstr's: `own_main_googletest --gtest_filter='ktstr.*' --accel tcg`.
#include <ktstr/embed.hpp>

#include <gtest/gtest.h>

namespace {

class cell_test : public testing::Test {
public:
    cell_test(const ktstr::cell_info& cell, const ktstr::run_options& how)
        : name_(cell.name), how_(how) {}

    void TestBody() override {
        const auto result = ktstr::run_cell(name_, how_);
        // An expect_fail test passes with failed checks.
        if (!result.passed())
            for (const auto& check : result.failed_checks)
                ADD_FAILURE_AT(check.file.c_str(), check.line)
                    << check.expression << " with " << check.expansion << ' ' << check.message;
        if (result.verdict == ktstr::verdict::skip)
            GTEST_SKIP() << result.text;
        EXPECT_TRUE(result.passed()) << to_text(result.ending) << ", "
                                     << (result.verdict ? to_text(*result.verdict) : "no verdict")
                                     << ", " << to_text(result.reason) << '\n'
                                     << result.text;
    }

private:
    std::string name_;
    const ktstr::run_options& how_;
};

TEST(addition, of_its_own) {
    EXPECT_EQ(1 + 1, 2);
}

}  // namespace

int main(int argc, char** argv) {
    if (const auto status = ktstr::take_role(argc, argv))
        return *status;
    testing::InitGoogleTest(&argc, argv);
    const ktstr::run_options how{.arguments = {argv + 1, argv + argc}};
    const auto cells = ktstr::list_cells(how);
    if (!cells) {
        std::fprintf(stderr, "%s\n", cells.error().message().c_str());
        return 5;
    }
    for (const auto& cell : *cells)
        testing::RegisterTest("ktstr", cell.name.c_str(), nullptr, nullptr, cell.file.c_str(),
                              cell.line, [=, &how] { return new cell_test(cell, how); });
    return RUN_ALL_TESTS();
}
