// SPDX-License-Identifier: MIT
#include <ktstr/ktstr.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>

#include "test_called.hpp"

using namespace std::chrono_literals;

// A user's own names must not get in the way of the keys.
[[maybe_unused]] static int cores = 7;
[[maybe_unused]] static const char* duration = "forever";
[[maybe_unused]] static void tags() {}

constexpr ktstr::scheduler demo{
    .name = "demo", .binary = "scx_demo", .args = {}, .numa_nodes = 2, .llcs = 4, .threads = 2};
constexpr int three = 3;
constexpr ktstr::scheduler with_arguments{
    .name = "demo", .binary = "scx_demo", .args = {"--slice-us", "20000"}};
static_assert(with_arguments.args.size() == 2 && with_arguments.args[1] == "20000");

constexpr ktstr::scheduler with_another_name{.name = "another", .binary = "scx_demo"};

KTSTR_TEST(plain) {}

KTSTR_TEST(every_key, numa_nodes = 1, llcs = 2, cores = 4, threads = 1, memory_mib = 1024,
           duration = 5s, timeout = 1min, cpu_budget = 2, scheduler = demo,
           scheduler_args = {"--slice-us", "20000"}, kernel_args = {"nokaslr"},
           tags = {"smoke", "numa"}, no_perf_mode, performance_mode = false, requires_steal,
           requires_kvm = true, host_only = false, expect_fail) {}

KTSTR_TEST(reversed_order, expect_fail, requires_kvm, no_perf_mode = true,
           tags = {"smoke", "numa", "third"}, cpu_budget = 1u, threads = 2L, cores = three) {}

KTSTR_TEST(inherits, scheduler = demo) {}
KTSTR_TEST(with_another, scheduler = demo, staged = {with_another_name}) {}
KTSTR_TEST(inherits_some, scheduler = demo, llcs = 6, threads = 1) {}
KTSTR_TEST(lists_of_one_and_none, tags = "alone", kernel_args = {"single"}, scheduler = demo,
           scheduler_args = {}) {}
KTSTR_TEST(exclusive, performance_mode) {}
KTSTR_TEST(on_the_host, host_only, duration = 250ms) {}
KTSTR_TEST(full_list, tags = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
                              "14", "15", "16"}) {}

KTSTR_TEST(on_two_machines, topologies = {"1n1l4c1t", "2n4l2c2t"}, duration = 1s) {}
KTSTR_TEST(under_two_schedulers, schedulers = {demo, ktstr::eevdf}, cores = 3,
           scheduler_args = {"-v"}) {}
KTSTR_TEST(lists_of_one, topologies = "1n1l4c1t", schedulers = {ktstr::eevdf}) {}
KTSTR_TEST(lists_of_none, topologies = {}, schedulers = {}) {}

namespace of_a_user {
KTSTR_TEST(in_namespace, cores = 1) {
    KTSTR_CHECK(ctx.seed() == 42);
}
}  // namespace of_a_user

namespace {
KTSTR_TEST(in_unnamed_namespace, cores = 3) {}

const ktstr::test_spec& spec_of(std::string_view name) {
    return test_called(name).spec;
}
}  // namespace

TEST_CASE("a test that says nothing has the defaults") {
    const ktstr::test_spec& s = spec_of("plain");
    CHECK(s.shape() == ktstr::topology{});
    CHECK_FALSE(s.llcs.has_value());
    CHECK_FALSE(s.memory_mib.has_value());
    CHECK_FALSE(s.cpu_budget.has_value());
    CHECK(s.duration == 12s);
    CHECK_FALSE(s.timeout.has_value());
    CHECK(s.body_limit() == 42s);
    CHECK(s.scheduler == nullptr);
    CHECK(s.scheduler_args.empty());
    CHECK(s.staged.empty());
    CHECK(spec_of("with_another").staged.size() == 1);
    CHECK(spec_of("with_another").staged[0] == &with_another_name);
    CHECK(s.kernel_args.empty());
    CHECK(s.tags.empty());
    for (const bool flag : {s.no_perf_mode, s.performance_mode, s.requires_steal, s.requires_kvm,
                            s.host_only, s.expect_fail})
        CHECK_FALSE(flag);
}

TEST_CASE("lists of topologies and schedulers refer to what was written") {
    CHECK(spec_of("on_two_machines").topologies.size() == 2);
    CHECK(spec_of("on_two_machines").topologies[1] == "2n4l2c2t");
    const auto& under = spec_of("under_two_schedulers");
    REQUIRE(under.schedulers.size() == 2);
    CHECK(under.schedulers[0] == &demo);
    CHECK(under.schedulers[1] == &ktstr::eevdf);
    CHECK(under.scheduler == nullptr);
    // Each has a shape of its own.
    CHECK(to_text(under.shape_under(demo)) == "2n4l3c2t");
    CHECK(to_text(under.shape_under(ktstr::eevdf)) == "1n1l3c1t");
    CHECK(spec_of("lists_of_one").topologies.size() == 1);
    REQUIRE(spec_of("lists_of_one").schedulers.size() == 1);
    CHECK(spec_of("lists_of_one").schedulers[0] == &ktstr::eevdf);
    CHECK(spec_of("lists_of_none").topologies.empty());
    CHECK(spec_of("lists_of_none").schedulers.empty());
    CHECK_FALSE(ktstr::eevdf.has_program());
    CHECK(demo.has_program());
}

TEST_CASE("what can stand in a cell's name") {
    for (const std::string_view good : {"scx_simple", "7.3.4+deb13-cloud-amd64", "a", "_x-1"})
        CHECK(ktstr::can_stand_in_a_name(good));
    for (const std::string_view bad : {"", "a/b", ".", "..", ".a", "-v", "a b", "a*", "a\n", "ä"})
        CHECK_FALSE(ktstr::can_stand_in_a_name(bad));
}

TEST_CASE("each key reaches its own member") {
    const ktstr::test_spec& s = spec_of("every_key");
    CHECK(s.numa_nodes == 1);
    CHECK(s.llcs == 2);
    CHECK(s.cores == 4);
    CHECK(s.threads == 1);
    CHECK(s.memory_mib == 1024);
    CHECK(s.duration == 5s);
    CHECK(s.timeout == 60s);
    CHECK(s.body_limit() == 60s);
    CHECK(s.cpu_budget == 2);
    CHECK(s.scheduler == &demo);
    REQUIRE(s.scheduler_args.size() == 2);
    CHECK(s.scheduler_args[0] == "--slice-us");
    CHECK(s.scheduler_args[1] == "20000");
    REQUIRE(s.kernel_args.size() == 1);
    CHECK(s.kernel_args[0] == "nokaslr");
    REQUIRE(s.tags.size() == 2);
    CHECK(s.tags[0] == "smoke");
    CHECK(s.tags[1] == "numa");
    CHECK(s.no_perf_mode);
    CHECK_FALSE(s.performance_mode);
    CHECK(s.requires_steal);
    CHECK(s.requires_kvm);
    CHECK_FALSE(s.host_only);
    CHECK(s.expect_fail);
}

TEST_CASE("keys come in any order, and numbers in any integer type") {
    const ktstr::test_spec& s = spec_of("reversed_order");
    CHECK(s.cores == 3);
    CHECK(s.threads == 2);
    CHECK(s.cpu_budget == 1);
    CHECK(s.tags.size() == 3);
    CHECK(s.shape().total_cpus() == 6);
    CHECK_FALSE(s.requires_steal);
    CHECK(spec_of("exclusive").performance_mode);
    CHECK(spec_of("on_the_host").host_only);
    CHECK(spec_of("on_the_host").duration == 250ms);
}

TEST_CASE("dimensions are inherited one by one") {
    CHECK(spec_of("inherits").shape() ==
          ktstr::topology{.numa_nodes = 2, .llcs = 4, .cores = 2, .threads = 2});
    CHECK(spec_of("inherits_some").shape() ==
          ktstr::topology{.numa_nodes = 2, .llcs = 6, .cores = 2, .threads = 1});
}

TEST_CASE("lists of none, one and sixteen") {
    const ktstr::test_spec& s = spec_of("lists_of_one_and_none");
    REQUIRE(s.tags.size() == 1);
    CHECK(s.tags[0] == "alone");
    REQUIRE(s.kernel_args.size() == 1);
    CHECK(s.kernel_args[0] == "single");
    CHECK(s.scheduler_args.empty());
    REQUIRE(spec_of("full_list").tags.size() == 16);
    CHECK(spec_of("full_list").tags[15] == "16");
}

TEST_CASE("a test knows its place") {
    const auto& test = test_called("plain");
    CHECK(test.name == "plain");
    CHECK(test.file == __FILE__);
    CHECK(test.line > 0);
    CHECK(test.line < __LINE__);
}
