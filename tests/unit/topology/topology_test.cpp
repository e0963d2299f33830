// SPDX-License-Identifier: MIT
#include <ktstr/topology/topology.hpp>

#include <catch2/catch_test_macros.hpp>

#include <stdexcept>
#include <string>

using ktstr::cpu_set;
using ktstr::numa_distances;
using ktstr::parse_topology;
using ktstr::topology;

namespace {

constexpr topology two_nodes{.numa_nodes = 2, .llcs = 4, .cores = 3, .threads = 2};

// All of it is usable in constants.
static_assert(two_nodes.total_cpus() == 24);
static_assert(two_nodes.cpus_in_llc(1) == cpu_set::range(6, 11));
static_assert(to_text(two_nodes) == "2n4l3c2t");
static_assert(parse_topology("2n4l3c2t") == two_nodes);

}  // namespace

TEST_CASE("a default topology is one node, one LLC, two cores") {
    CHECK(topology{} == topology{.numa_nodes = 1, .llcs = 1, .cores = 2, .threads = 1});
    CHECK(topology{}.total_cpus() == 2);
    CHECK(to_text(topology{}).str() == "1n1l2c1t");
}

TEST_CASE("counts") {
    CHECK(two_nodes.num_llcs() == 4);
    CHECK(two_nodes.num_numa_nodes() == 2);
    CHECK(two_nodes.num_cores() == 12);
    CHECK(two_nodes.all_cpus() == cpu_set::range(0, 23));
}

TEST_CASE("CPUs are numbered node by node, LLC by LLC, threads of a core side by side") {
    CHECK(two_nodes.cpus_in_node(0) == cpu_set::range(0, 11));
    CHECK(two_nodes.cpus_in_node(1) == cpu_set::range(12, 23));
    CHECK(two_nodes.cpus_in_llc(3) == cpu_set::range(18, 23));
    CHECK(two_nodes.smt_siblings(6) == cpu_set::of(6, 7));
    CHECK(two_nodes.smt_siblings(7) == cpu_set::of(6, 7));
    CHECK(two_nodes.core_of(7) == 3);
    CHECK(two_nodes.llc_of(11) == 1);
    CHECK(two_nodes.llc_of(12) == 2);
    CHECK(two_nodes.node_of(11) == 0);
    CHECK(two_nodes.node_of(12) == 1);
    CHECK(two_nodes.node_of_llc(1) == 0);
    CHECK(two_nodes.node_of_llc(2) == 1);
    CHECK(topology{}.smt_siblings(1) == cpu_set::of(1));
}

TEST_CASE("every CPU is in exactly one LLC, node and core, and the queries agree") {
    for (const topology& t : {topology{}, two_nodes, topology{3, 9, 5, 1}, topology{1, 14, 9, 2}}) {
        cpu_set seen;
        for (int llc = 0; llc < t.num_llcs(); ++llc) {
            const cpu_set cpus = t.cpus_in_llc(llc);
            CHECK((seen & cpus).empty());
            CHECK(t.cpus_in_node(t.node_of_llc(llc)).contains(cpus));
            for (const int cpu : cpus) {
                CHECK(t.llc_of(cpu) == llc);
                CHECK(t.smt_siblings(cpu).contains(cpu));
                CHECK(t.smt_siblings(cpu).count() == t.threads);
                CHECK(cpus.contains(t.smt_siblings(cpu)));
            }
            seen |= cpus;
        }
        CHECK(seen == t.all_cpus());
    }
}

TEST_CASE("what is not there throws, and says what there is") {
    CHECK_THROWS_AS(two_nodes.cpus_in_llc(4), std::out_of_range);
    CHECK_THROWS_AS(two_nodes.cpus_in_llc(-1), std::out_of_range);
    CHECK_THROWS_AS(two_nodes.cpus_in_node(2), std::out_of_range);
    CHECK_THROWS_AS(two_nodes.llc_of(24), std::out_of_range);
    CHECK_THROWS_AS(two_nodes.node_of(-1), std::out_of_range);
    CHECK_THROWS_AS(two_nodes.smt_siblings(24), std::out_of_range);
    CHECK_THROWS_AS(two_nodes.distance(0, 2), std::out_of_range);
    try {
        (void)two_nodes.cpus_in_llc(4);
        FAIL("nothing was thrown");
    } catch (const std::out_of_range& e) {
        CHECK(std::string(e.what()) == "ktstr::topology: no LLC 4, there are 4");
    }
}

TEST_CASE("distances are 10 and 20 until somebody says otherwise") {
    CHECK(two_nodes.distance(1, 1) == 10);
    CHECK(two_nodes.distance(0, 1) == 20);

    topology far = two_nodes;
    far.distances = numa_distances::uniform(40);
    CHECK(far.distance(0, 1) == 40);
    CHECK(far.distance(0, 0) == 10);
    CHECK(far != two_nodes);

    topology ring{.numa_nodes = 4, .llcs = 4};
    ring.distances = numa_distances::uniform(30).set(0, 1, 15);
    CHECK(ring.distance(0, 1) == 15);
    CHECK(ring.distance(1, 0) == 15);
    CHECK(ring.distance(1, 2) == 30);
}

TEST_CASE("distances ACPI cannot say are refused") {
    CHECK_THROWS_AS(numa_distances::uniform(10), std::out_of_range);
    CHECK_THROWS_AS(numa_distances::uniform(255), std::out_of_range);
    numa_distances d;
    CHECK_THROWS_AS(d.set(0, 0, 20), std::out_of_range);
    CHECK_THROWS_AS(d.set(0, 8, 20), std::out_of_range);
    CHECK_THROWS_AS(d.set(-1, 1, 20), std::out_of_range);
    CHECK_THROWS_AS(d.set(0, 1, 9), std::out_of_range);
    CHECK(d == numa_distances{});
    d.set(6, 7, 254);
    CHECK(d.distance(7, 6) == 254);
    // Above the pairs that can be set, the uniform distance still holds.
    CHECK(numa_distances::uniform(33).distance(9, 12) == 33);
}

TEST_CASE("notation goes there and back") {
    for (const char* text : {"1n1l1c1t", "1n2l4c1t", "2n4l2c2t", "1n14l18c1t", "252n252l1c1t"}) {
        const auto t = parse_topology(text);
        REQUIRE(t.has_value());
        CHECK(to_text(*t).str() == text);
    }
    CHECK(to_text(topology{-1, 2147483647, 0, -2147483647 - 1}).str() ==
          "-1n2147483647l0c-2147483648t");
}

TEST_CASE("notation that is not one is refused") {
    for (const char* text : {"",
                             "1",
                             "1n",
                             "1n2l",
                             "1n2l4c",
                             "n1l2c4t1",
                             "1n2l4c1",
                             "1n2l4c1tx",
                             "1n2l4c1t ",
                             " 1n2l4c1t",
                             "1n2l4c1t\n",
                             "1n2l4c1t1n2l4c1t",
                             "2l4c1t",
                             "1n4c2l1t",
                             "1N2L4C1T",
                             "0n2l4c1t",
                             "1n0l4c1t",
                             "1n2l0c1t",
                             "1n2l4c0t",
                             "-1n2l4c1t",
                             "+1n2l4c1t",
                             "01n2l4c1t",
                             "1n2l4c01t",
                             "1.0n2l4c1t",
                             "1n 2l4c1t",
                             "1n2l4c1t,",
                             "99999999999999999999n1l1c1t",
                             "1n4294967297l1c1t",
                             "2n3l1c1t",
                             "1n16l8c2t",
                             "1n253l1c1t",
                             "1n2l4ct",
                             "nlct"}) {
        INFO(text);
        CHECK_FALSE(parse_topology(text).has_value());
    }
}

TEST_CASE("a shape's problem is named") {
    CHECK(ktstr::topology_problem(two_nodes).empty());
    // Read, and still no machine.
    CHECK(ktstr::read_topology("1n16l16c1t") == ktstr::topology{1, 16, 16, 1});
    CHECK_FALSE(parse_topology("1n16l16c1t").has_value());
    CHECK_FALSE(ktstr::read_topology("1n0l1c1t").has_value());
    CHECK_FALSE(ktstr::read_topology("1n1l1c99999999999999999999t").has_value());
    CHECK(ktstr::topology_problem({1, 14, 18, 1}).empty());
    CHECK(ktstr::topology_problem({.llcs = 0}).find("start at 1") != std::string::npos);
    CHECK(ktstr::topology_problem({.numa_nodes = 2, .llcs = 3}).find("multiple") !=
          std::string::npos);
    CHECK(ktstr::topology_problem({1, 1, 253, 1}).find("252") != std::string::npos);
    CHECK(ktstr::topology_problem({1, 2147483647, 2147483647, 2147483647}).find("252") !=
          std::string::npos);
}
