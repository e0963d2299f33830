// SPDX-License-Identifier: MIT
// The machine around a nested run: which templates it holds, and what tells two kinds apart.
#include <ktstr/host/nested/outer_machine.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace ktstr;
using namespace ktstr::host;

namespace {

test_spec shaped(int llcs, int cores) {
    test_spec spec;
    spec.llcs = llcs;
    spec.cores = cores;
    return spec;
}
template <class Edit>
test_spec edited(test_spec spec, const Edit& edit) {
    edit(spec);
    return spec;
}

const test_case small{"small", "a.cpp", 1, shaped(1, 2), nullptr};
const test_case also_small{"also_small", "a.cpp", 2, shaped(1, 2), nullptr};
const test_case wide{"wide", "a.cpp", 3, shaped(2, 4), nullptr};
const test_case roomy{"roomy", "a.cpp", 4,
                      edited(shaped(1, 2), [](test_spec& s) { s.memory_mib = 2048; }), nullptr};
const test_case tuned{
    "tuned", "a.cpp", 5,
    edited(shaped(1, 2), [](test_spec& s) { s.kernel_args.push_back("nohz=off"); }), nullptr};
const test_case cold{"cold", "a.cpp", 6,
                     edited(shaped(1, 16), [](test_spec& s) { s.no_clone = true; }), nullptr};
const test_case dedicated{"dedicated", "a.cpp", 7,
                          edited(shaped(1, 2), [](test_spec& s) { s.performance_mode = true; }),
                          nullptr};
const test_case outside{"outside", "a.cpp", 8,
                        edited(shaped(1, 64), [](test_spec& s) { s.host_only = true; }), nullptr};

host::detail::inner_kinds kinds_of(std::initializer_list<const test_case*> tests,
                                   const cell_choices& run = {}) {
    cell_list cells;
    for (const test_case* test : tests)
        for (auto& one : cells_of(*test, run))
            cells.push_back(one);
    return host::detail::kinds_of(cells);
}

}  // namespace

TEST_CASE("tests of one kind share a template, others do not", "[nested]") {
    const auto two = kinds_of({&small, &also_small, &wide});
    CHECK(two.cells.size() == 2);
    CHECK(two.vcpus == 8);
    CHECK(two.memory_mib == 512);
    CHECK(two.templates_mib == two.memory_mib + kinds_of({&small}).templates_mib);
    // Which of them is asked, and in which order, makes no other machine.
    CHECK(two.text == kinds_of({&wide, &also_small}).text);
    for (const test_case* other : {&wide, &roomy, &tuned}) {
        CAPTURE(other->name);
        CHECK(kinds_of({other}).text != kinds_of({&small}).text);
        CHECK(kinds_of({&small, other}).cells.size() == 2);
    }
    CHECK(kinds_of({&small, &wide}, {.topology = parse_topology("1n1l4c1t")}).cells.size() == 1);
}

TEST_CASE("what is no clone has no template, but counts for the machine's size", "[nested]") {
    const auto kinds = kinds_of({&cold, &dedicated, &outside});
    CHECK(kinds.cells.empty());
    CHECK(kinds.text.empty());
    CHECK(kinds.templates_mib == 0);
    CHECK(kinds.vcpus == 16);
    CHECK(kinds.memory_mib == 1024);
}

TEST_CASE("the first command names each kind's test and the run's own switches", "[nested]") {
    outer_machine outer;
    outer.environment = {"PATH=/bin", "HOME=/root"};
    outer.kinds = kinds_of({&small, &wide});
    options wanted;
    wanted.topology = parse_topology("1n1l4c1t");
    host_facts host_here;
    host_here.calibration_ns = 77;
    const auto text = host::detail::first_command(outer, wanted, host_here).content;
    CHECK(text.starts_with("PATH=/bin\nHOME=/root\n\n/init\n--accel\nkvm\n"));
    CHECK(text.find("\n--kernel\n/ktstr/kernels/kernel\n") != std::string::npos);
    for (const char* words :
         {"\n--internal-templates\n", "\n--internal-calibration\n77\n", "\n--topology\n1n1l4c1t\n",
          "\n--filter\nsmall\n", "\n--filter\nwide\n"})
        CHECK(text.find(words) != std::string::npos);
}

TEST_CASE("kernels are called inside as they are outside", "[nested]") {
    options wanted;
    wanted.kernels = {"distro", "/src/linux-a/arch/x86/boot/bzImage"};
    const auto directories = host::detail::inner_kernels(wanted);
    CHECK(directories ==
          std::vector<std::string>{"/ktstr/kernels/distro", "/ktstr/kernels/bzImage"});
    CHECK(*kernel_names(directories) == *kernel_names(wanted.kernels));
    // Each has templates of its own.
    const auto kinds = kinds_of({&small}, {.kernels = *kernel_names(wanted.kernels)});
    CHECK(kinds.cells.size() == 2);
    CHECK(kinds.text != kinds_of({&small}).text);
    outer_machine outer;
    const auto text = host::detail::first_command(outer, wanted, {}).content;
    CHECK(text.find("\n--kernel\n/ktstr/kernels/distro\n--kernel\n/ktstr/kernels/bzImage\n") !=
          std::string::npos);
}
