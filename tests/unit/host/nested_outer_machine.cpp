// SPDX-License-Identifier: MIT
// The machine around a nested run: which templates it holds, and what tells two kinds apart.
#include <ktstr/host/nested/outer_machine.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "scratch_directory.hpp"

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

TEST_CASE("each scheduler's program is found inside by its own variable", "[nested]") {
    const unit::scratch_directory place;
    const auto put = [&](const std::string& name) {
        std::filesystem::create_directories((place.path() / name).parent_path());
        std::filesystem::copy_file("/proc/self/exe", place.path() / name);
        return (place.path() / name).string();
    };
    const auto first = put("a/scx"), second = put("b/scx"), config = put("mine.conf");
    const scheduler one{.name = "one", .binary = first}, two{.name = "two", .binary = second},
        same{.name = "same", .binary = first, .files = {{.path = "/etc/a", .from = "mine.conf"}}},
        clash{.name = "ONE", .binary = second},
        bare{.name = "bare", .binary = "", .files = {{.path = "/etc/a", .from = config}}};
    const auto pack = [&](std::initializer_list<const scheduler*> which, initramfs_input& input) {
        cell_list cells;
        for (const auto* under : which)
            for (int twice : {0, 1})
                cells.push_back(
                    {.name = std::to_string(twice), .test = &small, .scheduler = under});
        return host::detail::pack_schedulers(cells, place.path(), input);
    };
    initramfs_input input, other;
    const auto variables = pack({&one, &two, &same, &bare}, input);
    REQUIRE(variables);
    CHECK(*variables ==
          std::vector<std::string>{"KTSTR_SCHEDULER_ONE=/ktstr/schedulers/KTSTR_SCHEDULER_ONE",
                                   "KTSTR_SCHEDULER_SAME=/ktstr/schedulers/KTSTR_SCHEDULER_SAME",
                                   "KTSTR_SCHEDULER_TWO=/ktstr/schedulers/KTSTR_SCHEDULER_TWO"});
    REQUIRE(input.programs.size() == 3);
    CHECK(input.programs[0].host_path == first);
    CHECK(input.programs[1].host_path == first);
    CHECK(input.programs[2].host_path == second);
    REQUIRE(input.files.size() == 2);
    CHECK(input.files[0].guest_path == "/mine.conf");
    CHECK(input.files[0].host_path == config);
    CHECK(input.files[1].guest_path == config);
    const auto refused = pack({&one, &clash}, other);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("KTSTR_SCHEDULER_ONE") != std::string::npos);
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
