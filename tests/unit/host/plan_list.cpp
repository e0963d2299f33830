// SPDX-License-Identifier: MIT
// --list: exact text, valid JSON for any name, and fast enough to be called after every link.
#include <ktstr/host/cli/parse.hpp>
#include <ktstr/host/plan/list.hpp>
#include <ktstr/host/plan/select.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report_golden.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::test;
using namespace std::chrono_literals;

namespace {

std::vector<test_case> sample() {
    test_spec steal;
    steal.llcs = 2;
    steal.cores = 4;
    steal.threads = 1;
    steal.no_perf_mode = true;
    steal.cpu_budget = 2;
    steal.duration = 5s;
    steal.requires_steal = true;

    test_spec big;
    big.numa_nodes = 2;
    big.llcs = 4;
    big.cores = 2;
    big.threads = 2;
    big.memory_mib = 4096;
    big.timeout = 2500ms;
    big.tags.push_back("numa");
    big.tags.push_back("slow");
    big.requires_kvm = true;
    big.performance_mode = true;
    big.expect_fail = true;

    test_spec host;
    host.host_only = true;
    return {
        {"steal_accrues", "tests/a.cpp", 3, steal, nullptr},
        {"numa_spread", "tests/a.cpp", 17, big, nullptr},
        {"plain", "tests/b.cpp", 5, host, nullptr},
    };
}

test_list pointers(const std::vector<test_case>& tests) {
    test_list list;
    for (const auto& test : tests)
        list.push_back(&test);
    return list;
}

cell_list cells(const std::vector<test_case>& tests, const options& wanted) {
    return *select_cells(pointers(tests), wanted);
}

}  // namespace

TEST_CASE("the lists are as agreed", "[plan][list][golden]") {
    const auto tests = sample();
    options wanted;
    require_golden("list/list.txt", list_text(cells(tests, wanted), wanted));
    wanted.format = list_format::json;
    require_golden("list/list.json", list_text(cells(tests, wanted), wanted));
}

TEST_CASE("the JSON list says what a build system needs", "[plan][list]") {
    const auto tests = sample();
    options wanted;
    wanted.format = list_format::json;
    const auto list = nlohmann::json::parse(list_text(cells(tests, wanted), wanted));
    REQUIRE(list.size() == 3);
    CHECK(list[0]["topology"] == "1n2l4c1t");
    CHECK(list[0]["cpus"] == 8);
    CHECK(list[0]["memory_mib"] == 512);
    CHECK(list[0]["timeout_s"] == 35);
    CHECK(list[0]["limit_s"] == 35 + 45.8);
    CHECK(list[0]["cpu_budget"] == 2);
    CHECK(list[0]["requirements"] == std::vector<std::string>{"steal"});
    CHECK(list[1]["memory_mib"] == 4096);
    CHECK(list[1]["timeout_s"] == 2.5);
    CHECK(list[1]["cpu_budget"].is_null());
    CHECK(list[1]["tags"] == std::vector<std::string>{"numa", "slow"});
    CHECK(list[1]["requirements"] == std::vector<std::string>{"kvm", "performance_mode"});
    CHECK(list[1]["expect_fail"] == true);
    CHECK(list[2]["cpus"] == 2);
    CHECK(list[2]["memory_mib"] == 256);
    CHECK(list[2]["timeout_s"] == 42);
    CHECK(list[2]["host_only"] == true);
    CHECK(list[2]["requirements"].empty());
}

TEST_CASE("the limit of a test with a scheduler has room for its attach", "[plan][list]") {
    static constexpr scheduler mine{.name = "mine", .binary = "scx_mine"};
    test_spec spec;
    spec.cores = 2;
    spec.timeout = 20s;
    spec.schedulers = {&mine, &eevdf};
    const std::vector<test_case> tests{{"t", "a.cpp", 1, spec, nullptr}};
    options wanted;
    wanted.format = list_format::json;
    const auto list = nlohmann::json::parse(list_text(cells(tests, wanted), wanted));
    REQUIRE(list.size() == 2);
    CHECK(list[0]["limit_s"] == 20 + 20 + 30 + 15 + 40.2);
    CHECK(list[1]["limit_s"] == 20 + 5 + 40.2);
}

TEST_CASE("--topology shows in the list", "[plan][list]") {
    const auto tests = sample();
    options wanted;
    wanted.format = list_format::json;
    wanted.topology = topology{.numa_nodes = 1, .llcs = 1, .cores = 16, .threads = 1};
    const auto list = nlohmann::json::parse(list_text(cells(tests, wanted), wanted));
    CHECK(list[0]["topology"] == "1n1l16c1t");
    CHECK(list[2]["memory_mib"] == 1024);
}

TEST_CASE("the list has a line for each cell", "[plan][list]") {
    constexpr scheduler mine{.name = "mine", .binary = "scx_mine", .llcs = 4};
    test_spec spec;
    spec.schedulers = {&mine, &eevdf};
    spec.topologies = {"1n1l4c1t", "1n2l4c2t"};
    const std::vector<test_case> tests{{"wakes", "a.cpp", 1, spec, nullptr}};
    options wanted;
    CHECK(list_text(cells(tests, wanted), wanted) ==
          "wakes/mine/1n1l4c1t\nwakes/mine/1n2l4c2t\nwakes/eevdf/1n1l4c1t\nwakes/eevdf/1n2l4c2t\n");
    wanted.format = list_format::json;
    const auto list = nlohmann::json::parse(list_text(cells(tests, wanted), wanted));
    REQUIRE(list.size() == 4);
    CHECK(list[1]["name"] == "wakes/mine/1n2l4c2t");
    CHECK(list[1]["test"] == "wakes");
    CHECK(list[1]["scheduler"] == "mine");
    CHECK(list[1]["topology"] == "1n2l4c2t");
    CHECK(list[1]["cpus"] == 16);
    CHECK(list[1]["memory_mib"] == 1024);
    CHECK(list[2]["scheduler"] == "eevdf");
    CHECK(list[2]["cpus"] == 4);
}

TEST_CASE("an empty list", "[plan][list]") {
    options wanted;
    CHECK(list_text({}, wanted).empty());
    wanted.format = list_format::json;
    CHECK(list_text({}, wanted) == "[]\n");
}

TEST_CASE("any path and tag makes valid JSON", "[plan][list]") {
    test_spec spec;
    spec.tags.push_back("qu\"ote\\ \n\x01\xff");
    const std::vector<test_case> tests{{"t", "C:\\odd \u00e9/\x7f.cpp", 1, spec, nullptr}};
    options wanted;
    wanted.format = list_format::json;
    const auto list = nlohmann::json::parse(list_text(cells(tests, wanted), wanted));
    CHECK(list[0]["file"] == "C:\\odd \u00e9/\x7f.cpp");
    CHECK(list[0]["tags"][0] == "qu\"ote\\ \n\x01\ufffd");
}

// How long this takes is a benchmark's business: a unit test that holds a clock to it fails on a busy machine.
TEST_CASE("ten thousand tests are selected and listed", "[plan][list]") {
    std::deque<std::string> texts;
    std::vector<test_case> tests;
    for (int i = 0; i < 10000; ++i) {
        texts.push_back("test_number_" + std::to_string(i * 7919 % 10000));
        tests.push_back({texts.back(), "/some/long/path/to/a/source/file.cpp", 10000 - i,
                         sample()[static_cast<std::size_t>(i % 3)].spec, nullptr});
    }
    const auto parsed = parse_options(
        {"t", "--list", "--format", "json", "--filter", "test_*", "--exclude", "*_number_9999"},
        {});
    const auto& wanted = std::get<options>(parsed);
    const auto all = pointers(tests);
    REQUIRE(require_distinct_names(all));
    const auto selected = select_cells(all, wanted);
    REQUIRE(selected);
    CHECK(selected->size() == 9999);
    CHECK(list_text(*selected, wanted).size() > 1'000'000);
}
