// SPDX-License-Identifier: MIT
// Which cells a test has, and how they are called.
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cell/kernel_names.hpp>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>
#include <vector>

using namespace ktstr;
using namespace ktstr::host;

namespace {

constexpr scheduler simple{.name = "scx_simple", .binary = "scx_simple", .llcs = 2, .cores = 4};

template <class Edit>
test_case with(const Edit& edit) {
    test_case test{"wakes", "a.cpp", 1, {}, nullptr};
    edit(test.spec);
    return test;
}

std::vector<std::string> names(const cell_list& cells) {
    std::vector<std::string> all;
    for (const auto& one : cells)
        all.push_back(one.name);
    return all;
}

using texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a test that says nothing is one cell with its own name", "[cell]") {
    const auto test = with([](test_spec&) {});
    const auto cells = cells_of(test, {.kernels = {"6.12"}, .seed = 9});
    REQUIRE(names(cells) == texts{"wakes"});
    CHECK(cells[0].test == &test);
    CHECK(cells[0].scheduler == &eevdf);
    CHECK(cells[0].topology == topology{});
    CHECK(cells[0].kernel == 0);
    CHECK(cells[0].seed == 9);
    CHECK(cells_of(test, {}).size() == 1);
}

TEST_CASE("only a dimension with several values is in the name, in one order", "[cell]") {
    const auto lists_of_one = with([](test_spec& s) {
        s.schedulers = {&simple};
        s.topologies = {"1n1l4c1t"};
    });
    const auto one = cells_of(lists_of_one, {});
    REQUIRE(names(one) == texts{"wakes"});
    CHECK(one[0].scheduler == &simple);
    CHECK(to_text(one[0].topology) == "1n1l4c1t");

    const auto all = with([](test_spec& s) {
        s.schedulers = {&simple, &eevdf};
        s.topologies = {"2n4l2c2t", "1n1l4c1t"};
    });
    CHECK(names(cells_of(all, {})) == texts{"wakes/scx_simple/2n4l2c2t",
                                            "wakes/scx_simple/1n1l4c1t", "wakes/eevdf/2n4l2c2t",
                                            "wakes/eevdf/1n1l4c1t"});
    const auto with_kernels = cells_of(all, {.kernels = {"old", "new"}});
    REQUIRE(with_kernels.size() == 8);
    CHECK(with_kernels[5].name == "wakes/eevdf/2n4l2c2t/new");
    CHECK(with_kernels[5].kernel == 1);
    CHECK(with_kernels[4].kernel == 0);
    std::set<std::string> distinct;
    for (const auto& name : names(with_kernels))
        distinct.insert(name);
    CHECK(distinct.size() == 8);
    CHECK(names(cells_of(all, {.topology = parse_topology("1n1l1c1t")})) ==
          texts{"wakes/scx_simple", "wakes/eevdf"});
    const auto plain = with([](test_spec&) {});
    CHECK(names(cells_of(plain, {.kernels = {"old", "new"}})) == texts{"wakes/old", "wakes/new"});
}

TEST_CASE("each scheduler brings the shape that it likes", "[cell]") {
    const auto test = with([](test_spec& s) {
        s.schedulers = {&simple, &eevdf};
        s.cores = 3;
    });
    const auto cells = cells_of(test, {});
    REQUIRE(cells.size() == 2);
    CHECK(to_text(cells[0].topology) == "1n2l3c1t");
    CHECK(to_text(cells[1].topology) == "1n1l3c1t");
    CHECK(to_text(cells_of(test, {.topology = parse_topology("1n4l1c1t")})[0].topology) ==
          "1n4l1c1t");
}

TEST_CASE("a body without a machine is one cell, whatever the kernels", "[cell]") {
    const auto test = with([](test_spec& s) { s.host_only = true; });
    const auto cells = cells_of(test, {.kernels = {"old", "new"}});
    CHECK(names(cells) == texts{"wakes"});
    CHECK_FALSE(cells[0].has_machine());
}

TEST_CASE("a name is one part of a path", "[cell]") {
    CHECK(file_name_of("wakes/scx_simple/1n1l4c1t") == "wakes@scx_simple@1n1l4c1t");
    CHECK(file_name_of("wakes") == "wakes");
}

TEST_CASE("kernels are called by what tells them apart", "[cell]") {
    const auto names = [](const texts& specs) {
        const auto found = kernel_names(specs);
        REQUIRE(found);
        return *found;
    };
    CHECK(names({}).empty());
    CHECK(names({"distro"}) == texts{"distro"});
    CHECK(names({"distro", "6.12.1", "/boot/vmlinuz-6.1"}) ==
          texts{"distro", "6.12.1", "vmlinuz-6.1"});
    CHECK(names({"/src/linux-a/arch/x86/boot/bzImage", "/src/linux-b/arch/x86/boot/bzImage"}) ==
          texts{"linux-a", "linux-b"});
    CHECK(names({"distro", "/a/bzImage", "/b/bzImage"}) == texts{"distro", "a", "b"});
    CHECK(names({"/src/linux/", "./x/.."}).front() == "linux");
    CHECK(names({"odd name*", "/b/-c"}) == texts{"odd_name_", "_-c"});
    for (const auto& name : names({"..", "/", "a b/c d"}))
        CHECK(can_stand_in_a_name(name));
    // What they are called by is called the same.
    const auto once = names({"/x/a b/k", "/x/c/k"});
    CHECK(names({"/ktstr/" + once[0], "/ktstr/" + once[1]}) == once);
    for (const texts& same : {texts{"distro", "distro"}, texts{"/a/b", "/a/./b"}}) {
        const auto refused = kernel_names(same);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().message().find("--kernel " + same[1]) != std::string::npos);
    }
}
