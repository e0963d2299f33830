// SPDX-License-Identifier: MIT
// What a report says of a scheduler besides the verdict, and which of them a program is found for.
#include <ktstr/host/attempt/scheduler_notes.hpp>
#include <ktstr/host/cli/replay.hpp>
#include <ktstr/host/setup/scheduler_program.hpp>
#include <ktstr/host/setup/scheduler_variables.hpp>
#include <ktstr/linux/kernel_release.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "scratch_directory.hpp"

using namespace ktstr;
using namespace ktstr::host;

TEST_CASE("what the kernel let a scheduler do is no news", "[scheduler]") {
    CHECK(scheduler_notes({.ops = "simple", .counters = {"SCX_EV_DISPATCH_KEEP_LAST 9", "", "x"}})
              .empty());
    // Taking it off is a bypass of its own.
    CHECK(scheduler_notes(
              {.ended = true, .state_after = "disabled", .counters = {"SCX_EV_BYPASS_ACTIVATE 1"}})
              .empty());
}

TEST_CASE("that a scheduler has only the tasks that ask for it is said", "[scheduler]") {
    CHECK(scheduler_notes({.ops = "simple", .partial = false}).empty());
    const auto notes = scheduler_notes({.ops = "simple", .partial = true});
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].find("SCX_OPS_SWITCH_PARTIAL") != std::string::npos);
    CHECK(scheduler_record({.ops = "simple", .partial = true, .ended = true}).find("partial: ") !=
          std::string::npos);
}

TEST_CASE("what the kernel did in a scheduler's stead is", "[scheduler]") {
    const auto notes =
        scheduler_notes({.ended = true,
                         .fell_back_ns = 83'460'000,
                         .state_after = "enabling",
                         .counters = {"SCX_EV_BYPASS_ACTIVATE 3", "SCX_EV_BYPASS_DURATION 37666105",
                                      "SCX_EV_SUB_RESCUE 2", "nr_rejected 1"},
                         .output_dropped = 5});
    CHECK(notes ==
          std::vector<std::string>{
              "the kernel bypassed the scheduler 3 times, for 37.6 ms",
              "the kernel ran tasks in the scheduler's stead: SCX_EV_SUB_RESCUE 2",
              "the scheduler rejected 1 task (nr_rejected)",
              "after the end of the scheduler all tasks were back with the kernel's own in 83.4 ms",
              "after the end of the scheduler sched_ext was 'enabling' and not 'disabled'",
              "5 bytes of the scheduler's output beyond the limit were dropped"});
}

TEST_CASE("an error that a test waited for is said; an end in order is not", "[scheduler]") {
    CHECK(scheduler_notes({.ended = true,
                           .kind = "error_stall",
                           .reason = "runnable task stall",
                           .message = "a[1]"}) ==
          std::vector<std::string>{
              "the scheduler ended by an error: runnable task stall: a[1] (error_stall)"});
    for (const char* kind : {"unregistered", "unregistered_bpf", "done"})
        CHECK(scheduler_notes({.ended = true, .kind = kind, .reason = "r"}).empty());
}

TEST_CASE("the record of an end is a file with all of it", "[scheduler]") {
    CHECK(scheduler_record({.ops = "simple"}).empty());
    CHECK(scheduler_record({.ops = "zoo",
                            .ended = true,
                            .kind = "error",
                            .reason = "runtime error",
                            .message = "m",
                            .dump = "d\n",
                            .code = -3,
                            .counters = {"A 1"}}) ==
          "scheduler: zoo\nkind: error\nreason: runtime error\nmessage: m\ncode: -3\nA 1\n\nd\n");
}

TEST_CASE("a scheduler's variable has its name in capitals", "[scheduler]") {
    CHECK(scheduler_variable("scx_simple") == "KTSTR_SCHEDULER_SCX_SIMPLE");
    CHECK(scheduler_variable("my-sched.2") == "KTSTR_SCHEDULER_MY_SCHED_2");
}

TEST_CASE("a scheduler's program is its variable's, a path, beside the test program or in PATH",
          "[scheduler]") {
    const ktstr::host::unit::scratch_directory place;
    const auto put = [&](const char* name, std::string content, bool executable = true) {
        std::ofstream(place.path() / name) << content;
        if (executable)
            std::filesystem::permissions(place.path() / name, std::filesystem::perms::owner_all);
        return (place.path() / name).string();
    };
    const auto elf = [](char machine) {
        std::string bytes(
            "\x7f"
            "ELF\x02\x01\x01",
            7);
        bytes.resize(64);
        bytes[16] = 2;
        bytes[18] = machine;
        return bytes;
    };
    constexpr char own = static_cast<char>(ktstr::host::machine_architecture.elf_machine);
    constexpr char other = own == static_cast<char>(EM_X86_64) ? static_cast<char>(EM_AARCH64)
                                                               : static_cast<char>(EM_X86_64);
    const auto good = put("good", elf(own)), foreign = put("foreign", elf(other)),
               script = put("script", "#!/bin/sh\n"), dead = put("dead", elf(own), false);
    const auto find = [&](std::string_view binary) {
        return find_scheduler_program({.name = "of test", .binary = binary}, place.path());
    };
    CHECK(find("good").value() == good);
    CHECK(find(good).value() == good);
    CHECK(find("sh").has_value());
    // A link's program counts, and nothing else of that name.
    std::filesystem::create_directory(place.path() / "deeper");
    std::filesystem::rename(good, place.path() / "deeper/good");
    std::filesystem::create_symlink("deeper/good", good);
    std::filesystem::create_symlink("deeper/unbuilt", place.path() / "sh");
    CHECK(find("good").value() == place.path() / "deeper/good");
    const auto unbuilt = find("sh").error().message();
    CHECK(unbuilt.find((place.path() / "deeper/unbuilt").string() + ": No such file") !=
          std::string::npos);
    CHECK(unbuilt.find("build it") != std::string::npos);
    std::filesystem::create_symlink(place.path() / "deeper/good", place.path() / "absolute");
    CHECK(find("absolute").value() == place.path() / "deeper/good");
    const auto refused = [&](std::string_view binary) { return find(binary).error().message(); };
    CHECK(refused("foreign").find("it is a program for ") != std::string::npos);
    CHECK(refused(script).find("no 64-bit ELF file") != std::string::npos);
    CHECK(refused(dead).find("ermission denied") != std::string::npos);
    CHECK(refused("/no/such/program").find("No such file") != std::string::npos);
    CHECK(refused("no such program").find("KTSTR_SCHEDULER_OF_TEST") != std::string::npos);
    ::setenv("KTSTR_SCHEDULER_OF_TEST", good.c_str(), 1);
    CHECK(find("/no/such/program").value() == good);
    ::setenv("KTSTR_SCHEDULER_OF_TEST", "/nowhere", 1);
    CHECK(refused("good").find("KTSTR_SCHEDULER_OF_TEST") != std::string::npos);
    ::unsetenv("KTSTR_SCHEDULER_OF_TEST");
}

TEST_CASE("a scheduler's files are a text or a file of the host's", "[scheduler]") {
    const ktstr::host::unit::scratch_directory place;
    std::ofstream(place.path() / "mine.toml") << "x";
    const scheduler mine{.name = "mine", .binary = "mine"};
    const auto file = [&](scheduler_file one) {
        return file_of_scheduler(mine, one, place.path());
    };
    CHECK(file({.path = "/etc/a", .text = "t"})->content == "t");
    CHECK(file({.path = "/etc/a", .from = "mine.toml"})->host_path == place.path() / "mine.toml");
    const auto refused = [&](scheduler_file one) { return file(one).error().message(); };
    CHECK(refused({.path = "/etc/a", .from = "none.toml"}).find("none.toml: No such file") !=
          std::string::npos);
    for (const char* path : {"", "etc/a", "/etc/", "/etc/../init", "/ktstr/scheduler"})
        CHECK(refused({.path = path}).find("from the root on") != std::string::npos);
}

static_assert(release_is_at_least("7.3.4+deb13-cloud-amd64", "7.3") == true);
static_assert(release_is_at_least("7.3.4", "6.14") == true);
static_assert(release_is_at_least("7.3.4", "7.3.4") == true);
static_assert(release_is_at_least("7.3", "") == true && release_is_at_least("", "") == true);
static_assert(release_is_at_least("7.3.4", "7.3.5") == false);
static_assert(release_is_at_least("6.1.0-9", "6.12") == false);
static_assert(release_is_at_least("7-rc1", "7.1") == false);
// Nobody can tell.
static_assert(!release_is_at_least("", "6.12") && !release_is_at_least("bzImage", "6.12"));
static_assert(!release_is_at_least("7.3", "six"));

namespace {

constexpr scheduler with_program{.name = "with-program", .binary = "p"};
constexpr scheduler namesake{.name = "with_program", .binary = ""};
constexpr scheduler without{.name = "without", .binary = ""};

test_case under(const scheduler* one) {
    test_spec spec;
    spec.scheduler = one;
    return {"t", "a.cpp", 1, spec, nullptr};
}

result<options> settled(std::initializer_list<const scheduler*> schedulers,
                        std::vector<std::pair<std::string, std::string>> variables) {
    std::vector<test_case> tests;
    for (const scheduler* one : schedulers)
        tests.push_back(under(one));
    std::vector<const test_case*> all;
    for (const auto& one : tests)
        all.push_back(&one);
    options wanted;
    wanted.program = "./t";
    wanted.scheduler_variables = std::move(variables);
    if (auto done = settle_scheduler_variables(all, wanted); !done)
        return done.error();
    return wanted;
}

}  // namespace

TEST_CASE("a variable that names a program for a test's scheduler counts", "[scheduler]") {
    for (const auto* other : {&without, &namesake}) {
        const auto o = settled({other, &with_program, other, nullptr},
                               {{"KTSTR_SCHEDULER_WITH_PROGRAM", "/p"}});
        REQUIRE(o);
        CHECK(o->notes.empty());
        CHECK(replay_command(*o, "t").starts_with("KTSTR_SCHEDULER_WITH_PROGRAM=/p ./t "));
    }
    const auto none = settled({&without}, {});
    REQUIRE(none);
    CHECK(none->notes.empty());
}

TEST_CASE("one that no test's scheduler has is said, and in no replay", "[scheduler]") {
    const auto o = settled({&with_program, &without}, {{"KTSTR_SCHEDULER_WITHPROGRAM", "/p"}});
    REQUIRE(o);
    CHECK(o->scheduler_variables.empty());
    REQUIRE(o->notes.size() == 1);
    CHECK(
        o->notes[0] ==
        "KTSTR_SCHEDULER_WITHPROGRAM changes nothing: no test of this program names a scheduler of "
        "this variable; theirs: KTSTR_SCHEDULER_WITH_PROGRAM");
    CHECK(replay_command(*o, "t").starts_with("./t "));
}

TEST_CASE("one of a scheduler that starts no program is refused", "[scheduler]") {
    const auto o = settled({&with_program, &without}, {{"KTSTR_SCHEDULER_WITHOUT", "/p"}});
    REQUIRE_FALSE(o);
    const auto said = o.error().message();
    CAPTURE(said);
    CHECK(said.find("KTSTR_SCHEDULER_WITHOUT") != std::string::npos);
    CHECK(said.find("/p") != std::string::npos);
    CHECK(said.find("the scheduler without starts no program") != std::string::npos);
    // What a test runs under that names none.
    CHECK_FALSE(settled({nullptr}, {{"KTSTR_SCHEDULER_EEVDF", "/p"}}));
}

TEST_CASE("what is known of a scheduler in numbers is told as metrics", "[scheduler]") {
    CHECK(scheduler_metrics({.ops = "simple"}).empty());
    const auto all = scheduler_metrics(
        {.ops = "simple",
         .attach_ns = 1'500'000'000,
         .ended = true,
         .fell_back_ns = 83'000'000,
         .counters = {"SCX_EV_BYPASS_DURATION 2000000", "SCX_EV_REFILL_SLICE_DFL 9",
                      "nr_rejected 1", "of no number", "", "SCX_EV_\x01 3",
                      std::string(80, 'a') + " 4"}});
    REQUIRE(all.size() == 5);
    CHECK((all[0].name == "scheduler/attach" && all[0].value == 1.5 && all[0].unit == "s"));
    CHECK((all[1].name == "scheduler/fall_back" && all[1].value == 0.083));
    CHECK((all[2].name == "scheduler/scx_ev_bypass_duration" && all[2].value == 0.002));
    CHECK(all[2].better == better::lower);
    CHECK((all[3].name == "scheduler/scx_ev_refill_slice_dfl" && all[3].value == 9));
    CHECK(all[3].better == better::neither);
    CHECK((all[4].name == "scheduler/nr_rejected" && all[4].better == better::lower));
    // A guest may send as many lines as it likes.
    std::vector<std::string> many;
    for (int i = 0; i < 1000; ++i)
        many.push_back("e" + std::to_string(i) + " 1");
    CHECK(scheduler_metrics({.counters = many}).size() == 64);
}
