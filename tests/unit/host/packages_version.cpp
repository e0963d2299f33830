// SPDX-License-Identifier: MIT
#include <ktstr/host/packages/version.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string_view>

using namespace ktstr::host;

namespace {

constexpr std::array<std::string_view, 16> in_order{"0.9~~",     "0.9~rc1",    "0.9",
                                                    "1.0-1",     "1.0-1+b1",   "1.0-2",
                                                    "1.0-10",    "1.0a",       "1.0+dfsg",
                                                    "1.9",       "1.10",       "6.12.95-1~bpo12+1",
                                                    "6.12.95-1", "6.12.107-1", "7.3.4-1~bpo13+1",
                                                    "1:0.1"};

}  // namespace

TEST_CASE("versions are ordered by Debian's rules") {
    for (std::size_t i = 0; i < in_order.size(); ++i)
        for (std::size_t j = 0; j < in_order.size(); ++j) {
            INFO(in_order[i] << " and " << in_order[j]);
            CHECK(newer(in_order[i], in_order[j]) == (i > j));
            CHECK((compare_versions(in_order[i], in_order[j]) == 0) == (i == j));
        }
    CHECK(compare_versions("1.0", "1.00") == 0);
    CHECK(compare_versions("0:1.0", "1.0") == 0);
}

TEST_CASE("a folder's name is the version without what make can't read") {
    static_assert(without_epoch("1:1.4.6-1~bpo12+1") == "1.4.6-1~bpo12+1");
    static_assert(without_epoch("7.5.0+6.12.95-1~bpo12+1") == "7.5.0+6.12.95-1~bpo12+1");
    static_assert(without_epoch("").empty());
}

TEST_CASE("our order is dpkg's") {
    if (!find_tool("dpkg"))
        SKIP("no dpkg on this system");
    for (std::size_t i = 0; i + 1 < in_order.size(); ++i) {
        INFO(in_order[i] << " < " << in_order[i + 1]);
        const auto judged = run_tool({{"dpkg", "--compare-versions", std::string(in_order[i]), "lt",
                                       std::string(in_order[i + 1])}});
        REQUIRE(judged);
        CHECK(judged->exit_code == 0);
    }
}
