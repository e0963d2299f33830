// SPDX-License-Identifier: MIT
// Patterns, selection and shards.
#include <ktstr/host/plan/select.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <stdlib.h>

using namespace ktstr;
using namespace ktstr::host;

namespace {

test_spec tagged(std::initializer_list<std::string_view> tags) {
    test_spec spec;
    for (const auto tag : tags)
        spec.tags.push_back(tag);
    return spec;
}

/// In a linker's order: neither by name nor by place.
const test_case numa{"numa_spread", "b.cpp", 5, tagged({"slow", "numa"}), nullptr};
const test_case llc{"two_llcs", "a.cpp", 20, tagged({"smoke"}), nullptr};
const test_case steal{"steal_accrues", "a.cpp", 3, tagged({}), nullptr};
const test_case steal2{"steal_2", "b.cpp", 100, tagged({"slow"}), nullptr};
const std::vector<const test_case*> program{&numa, &llc, &steal2, &steal};

std::vector<std::string> names(const cell_list& cells) {
    std::vector<std::string> result;
    for (const auto& one : cells)
        result.emplace_back(one.name);
    return result;
}

using texts = std::vector<std::string>;

texts selected(const options& wanted) {
    auto tests = select_cells(program, wanted);
    REQUIRE(tests);
    return names(*tests);
}

std::string refused(const options& wanted) {
    auto tests = select_cells(program, wanted);
    REQUIRE_FALSE(tests);
    return tests.error().message();
}

options with(texts filters, texts tags = {}, texts excludes = {}) {
    options o;
    o.filters = std::move(filters);
    o.tags = std::move(tags);
    o.excludes = std::move(excludes);
    return o;
}

}  // namespace

TEST_CASE("patterns match as in a shell", "[plan][pattern]") {
    STATIC_CHECK(matches("abc", "abc"));
    STATIC_CHECK(matches("*", ""));
    STATIC_CHECK(matches("a*c", "ac"));
    STATIC_CHECK(matches("a*c", "abbbc"));
    STATIC_CHECK(matches("*b*", "abc"));
    STATIC_CHECK(matches("a?c", "abc"));
    STATIC_CHECK(matches("*a*b*c*", "xaxbxcx"));
    STATIC_CHECK(matches("a**b", "ab"));
    STATIC_CHECK(matches("*ab", "aab"));
    STATIC_CHECK(matches("[a]", "[a]"));
    STATIC_CHECK_FALSE(matches("abc", "abcd"));
    STATIC_CHECK_FALSE(matches("abc", "xabc"));
    STATIC_CHECK_FALSE(matches("a?c", "ac"));
    STATIC_CHECK_FALSE(matches("?", ""));
    STATIC_CHECK_FALSE(matches("", "a"));
    STATIC_CHECK_FALSE(matches("a*c", "abd"));
    STATIC_CHECK_FALSE(matches("[a]", "a"));
    STATIC_CHECK_FALSE(matches("A", "a"));
}

TEST_CASE("a hostile pattern takes no exponential time", "[plan][pattern]") {
    std::string pattern;
    for (int i = 0; i < 1000; ++i)
        pattern += "a*";
    CHECK_FALSE(matches(pattern + "b", std::string(2000, 'a')));
}

TEST_CASE("everything, in the order of declaration", "[plan][select]") {
    CHECK(selected({}) == texts{"steal_accrues", "two_llcs", "numa_spread", "steal_2"});
}

TEST_CASE("filters and tags are alternatives among themselves", "[plan][select]") {
    CHECK(selected(with({"steal_*"})) == texts{"steal_accrues", "steal_2"});
    CHECK(selected(with({"steal_?", "two*"})) == texts{"two_llcs", "steal_2"});
    CHECK(selected(with({}, {"smoke", "numa"})) == texts{"two_llcs", "numa_spread"});
    CHECK(selected(with({"*"}, {"slow"}, {"numa*"})) == texts{"steal_2"});
    CHECK(selected(with({}, {}, {"steal_*", "numa_spread"})) == texts{"two_llcs"});
    CHECK(selected(with({}, {}, {"no_such_test"})).size() == 4);
}

TEST_CASE("a pattern names a cell, its test, or a group between", "[plan][select]") {
    static constexpr scheduler mine{.name = "mine", .binary = "scx_mine"};
    test_spec spec;
    spec.schedulers = {&mine, &eevdf};
    spec.topologies = {"1n1l2c1t", "1n2l2c1t"};
    const test_case wakes{"wakes", "a.cpp", 1, spec, nullptr};
    const std::vector<const test_case*> tests{&wakes, &llc};
    const auto names_for = [&](const options& wanted) {
        const auto cells = select_cells(tests, wanted);
        REQUIRE(cells);
        return names(*cells);
    };
    const texts all{"wakes/mine/1n1l2c1t", "wakes/mine/1n2l2c1t", "wakes/eevdf/1n1l2c1t",
                    "wakes/eevdf/1n2l2c1t"};
    CHECK(names_for(with({"wakes"})) == all);
    CHECK(names_for(with({"w*"})) == all);
    CHECK(names_for(with({"wakes/mine"})) == texts{all[0], all[1]});
    CHECK(names_for(with({"wakes/*/1n2l2c1t"})) == texts{all[1], all[3]});
    CHECK(names_for(with({"*/1n2l2c1t"})) == texts{all[1], all[3]});
    CHECK(names_for(with({all[2]})) == texts{all[2]});
    CHECK(names_for(with({}, {}, {"wakes/eevdf", "two_llcs"})) == texts{all[0], all[1]});
    CHECK_FALSE(select_cells(tests, with({"wake"})));
    CHECK_FALSE(select_cells(tests, with({"wakes/"})));
    CHECK_FALSE(select_cells(tests, with({"wakes/1n2l2c1t"})));
    // --topology is one value, which has no place in the names.
    auto on_one = with({"wakes"});
    on_one.topology = parse_topology("2n2l1c1t");
    CHECK(names_for(on_one) == texts{"wakes/mine", "wakes/eevdf"});
    auto two_kernels = with({"wakes/*/1n2l2c1t"});
    two_kernels.kernels = {"distro", "/src/linux"};
    CHECK(names_for(two_kernels) ==
          texts{all[1] + "/distro", all[1] + "/linux", all[3] + "/distro", all[3] + "/linux"});
    two_kernels.filters = {"two_llcs"};
    CHECK(names_for(two_kernels) == texts{"two_llcs/distro", "two_llcs/linux"});
    two_kernels.kernels = {"/src/linux", "/src/./linux"};
    CHECK_FALSE(select_cells(tests, two_kernels));
    auto shell = with({"wakes/mine"});
    shell.shell = true;
    CHECK_FALSE(select_cells(tests, shell));
}

TEST_CASE("a pattern that selects nothing is named", "[plan][select]") {
    CHECK(refused(with({"two*", "nope*"})).find("--filter 'nope*'") != std::string::npos);
    CHECK(refused(with({"two"})).find("--filter two") != std::string::npos);
    CHECK(refused(with({}, {"smoke", "smok"})).find("--tag smok:") != std::string::npos);
    CHECK(refused(with({}, {"smo*"})).find("--tag 'smo*'") != std::string::npos);
}

TEST_CASE("arguments that select nothing together are named together", "[plan][select]") {
    const auto text = refused(with({"two*"}, {"slow"}));
    CHECK(text.find("--filter 'two*' --tag slow") != std::string::npos);
    CHECK(refused(with({}, {}, {"*"})).find("--exclude '*'") != std::string::npos);
    // One pattern of several that the tags leave nothing of.
    const auto emptied = refused(with({"steal_*", "two*"}, {"slow"}));
    CHECK(emptied.find("--filter 'two*': no test of such a name carries a tag") !=
          std::string::npos);
}

TEST_CASE("a program without tests selects nothing, but its filters still err", "[plan][select]") {
    const auto none = select_cells({}, {});
    REQUIRE(none);
    CHECK(none->empty());
    CHECK(select_cells({}, with({}, {}, {"*"})));
    CHECK_FALSE(select_cells({}, with({"x"})));
}

TEST_CASE("--shell wants one test", "[plan][select]") {
    options o = with({"two_llcs"});
    o.shell = true;
    CHECK(selected(o) == texts{"two_llcs"});
    o.filters = {"steal_*"};
    const auto text = refused(o);
    CHECK(text.find("--shell") != std::string::npos);
    CHECK(text.find("2 tests") != std::string::npos);
}

TEST_CASE("shards are a partition, whatever order the linker chose", "[plan][shard]") {
    for (int total = 1; total <= 6; ++total) {
        texts all;
        for (int index = 0; index < total; ++index) {
            auto one = program;
            std::reverse(one.begin(), one.end());
            const auto a = shard_cells(*select_cells(program, {}), {index, total, ""});
            const auto b = shard_cells(*select_cells(one, {}), {index, total, ""});
            CHECK(a == b);
            CHECK(a.size() <= (program.size() + static_cast<std::size_t>(total) - 1) /
                                  static_cast<std::size_t>(total));
            for (const auto& name : names(a))
                all.push_back(name);
        }
        std::sort(all.begin(), all.end());
        CHECK(all == texts{"numa_spread", "steal_2", "steal_accrues", "two_llcs"});
    }
}

TEST_CASE("the shard status file is touched", "[plan][shard]") {
    std::string path = (std::filesystem::temp_directory_path() / "ktstr-shard-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    const auto file = std::filesystem::path(path) / "status";
    CHECK(announce_sharding({0, 2, file.string()}));
    CHECK(std::filesystem::exists(file));
    CHECK(announce_sharding({0, 2, ""}));
    CHECK_FALSE(announce_sharding({0, 2, (file / "no").string()}));
    std::filesystem::remove_all(path);
}

TEST_CASE("two tests of one name are found", "[plan][select]") {
    CHECK(require_distinct_names(program));
    const test_case twin{"two_llcs", "z.cpp", 9, {}, nullptr};
    auto doubled = program;
    doubled.push_back(&twin);
    const auto distinct = require_distinct_names(doubled);
    REQUIRE_FALSE(distinct);
    const auto text = distinct.error().message();
    CHECK(text.find("a.cpp:20") != std::string::npos);
    CHECK(text.find("z.cpp:9") != std::string::npos);
}
