// SPDX-License-Identifier: MIT
// The topology proof, against sysfs trees made of files: each way in which a machine can differ
// from the one asked for, and that it stays quiet about those that don't.
#include <ktstr/guest/probe/topology.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <string>
#include <vector>

#include "fake_files.hpp"

using namespace ktstr;
using namespace ktstr::guest;
using ktstr::guest::testing::fake_sysfs;

namespace {

std::vector<std::uint32_t> distances_of(const topology& machine) {
    std::vector<std::uint32_t> all;
    for (int from = 0; from < machine.num_numa_nodes(); ++from)
        for (int to = 0; to < machine.num_numa_nodes(); ++to)
            all.push_back(static_cast<std::uint32_t>(machine.distance(from, to)));
    return all;
}

wire::topology_proof proof(const topology& wanted, const fake_sysfs& sys) {
    return prove(wanted, distances_of(wanted), read_machine(sys.path()));
}

constexpr topology two_nodes{2, 4, 2, 2, {}};

}  // namespace

TEST_CASE("a machine that is what was asked for is proven", "[guest][topology]") {
    const auto wanted =
        GENERATE(topology{1, 1, 1, 1, {}}, topology{1, 1, 2, 1, {}}, topology{1, 2, 4, 1, {}},
                 topology{1, 3, 5, 1, {}}, topology{2, 4, 2, 2, numa_distances::uniform(25)},
                 topology{4, 4, 8, 2, {}}, topology{8, 8, 1, 1, {}});
    const fake_sysfs sys(wanted);
    const auto seen = proof(wanted, sys);
    CHECK(seen.difference == "");
    CHECK(seen.matches);
    CHECK(seen.observed == std::to_string(wanted.numa_nodes) + 'n' + std::to_string(wanted.llcs) +
                               'l' + std::to_string(wanted.cores) + 'c' +
                               std::to_string(wanted.threads) + 't');
}

TEST_CASE("every wrong shape is refused, and named as what it is", "[guest][topology]") {
    const std::vector<topology> shapes{{1, 1, 8, 1, {}}, {1, 2, 4, 1, {}}, {2, 2, 4, 1, {}},
                                       {1, 2, 2, 2, {}}, {1, 1, 4, 2, {}}, {2, 4, 2, 1, {}}};
    for (const auto& real : shapes) {
        const fake_sysfs sys(real);
        for (const auto& wanted : shapes) {
            const auto seen = proof(wanted, sys);
            CHECK(seen.matches == (wanted == real));
            CHECK(seen.difference.empty() == (wanted == real));
        }
    }
}

TEST_CASE("LLCs that share a cache they should not share are seen", "[guest][topology]") {
    const fake_sysfs sys(topology{1, 1, 8, 1, {}});
    const auto seen = proof(topology{1, 2, 4, 1, {}}, sys);
    CHECK_FALSE(seen.matches);
    CHECK(seen.difference == "cpu0: LLC siblings 0-3 expected, 0-7 found");
    CHECK(seen.observed == "1n1l8c1t");
}

TEST_CASE("one CPU in the wrong LLC is seen although every set has the right size",
          "[guest][topology]") {
    const topology wanted{1, 2, 4, 1, {}};
    const fake_sysfs sys(wanted);
    for (const int cpu : {0, 1, 2, 4})
        sys.cache(cpu, 3, 3, "Unified", cpu_set::of(0, 1, 2, 4));
    for (const int cpu : {3, 5, 6, 7})
        sys.cache(cpu, 3, 3, "Unified", cpu_set::of(3, 5, 6, 7));
    const auto seen = proof(wanted, sys);
    CHECK_FALSE(seen.matches);
    CHECK(seen.difference == "cpu0: LLC siblings 0-3 expected, 0-2,4 found");
    CHECK(seen.observed == "1n2l4c1t");  // the shape is right, the numbering is not
}

TEST_CASE("the last CPU's own view is read too", "[guest][topology]") {
    const topology wanted{1, 2, 4, 1, {}};
    const fake_sysfs sys(wanted);
    sys.cache(7, 3, 3, "Unified", cpu_set::range(0, 7));
    CHECK(proof(wanted, sys).difference == "cpu7: LLC siblings 4-7 expected, 0-7 found");
    CHECK(proof(wanted, sys).observed.starts_with("irregular"));
}

TEST_CASE("a missing CPU is seen, whether absent or offline", "[guest][topology]") {
    const topology wanted{1, 1, 4, 1, {}};
    const fake_sysfs sys(wanted);
    SECTION("offline") {
        sys.write("devices/system/cpu/online", "0-2\n");
        CHECK(proof(wanted, sys).difference == "online CPUs: 0-3 expected, 0-2 found");
    }
    SECTION("absent") {
        sys.write("devices/system/cpu/online", "0-2\n");
        sys.write("devices/system/cpu/present", "0-2\n");
        CHECK(proof(wanted, sys).difference == "present CPUs: 0-3 expected, 0-2 found");
    }
    SECTION("one too many") {
        sys.write("devices/system/cpu/present", "0-4\n");
        CHECK(proof(wanted, sys).difference == "present CPUs: 0-3 expected, 0-4 found");
    }
    CHECK_FALSE(proof(wanted, sys).matches);
}

TEST_CASE("nodes with other CPUs, too few and too many of them are seen", "[guest][topology]") {
    const fake_sysfs sys(two_nodes);
    SECTION("other CPUs") {
        sys.write(fake_sysfs::node_file(0, "cpulist"), "0-3,8-11\n");
        sys.write(fake_sysfs::node_file(1, "cpulist"), "4-7,12-15\n");
        CHECK(proof(two_nodes, sys).difference == "node0: CPUs 0-7 expected, 0-3,8-11 found");
    }
    SECTION("too few") {
        sys.remove("devices/system/node/node1");
        CHECK(proof(two_nodes, sys).difference == "node1: CPUs 8-15 expected, no such node found");
    }
    SECTION("too many") {
        sys.write(fake_sysfs::node_file(2, "cpulist"), "\n");
        sys.write(fake_sysfs::node_file(2, "distance"), "20 20 10\n");
        CHECK(proof(two_nodes, sys).difference ==
              "node2: no such node expected, one with CPUs none found");
    }
    SECTION("no NUMA in the kernel") {
        sys.remove("devices/system/node");
        CHECK(proof(two_nodes, sys).difference == "nodes: 2 expected, the kernel lists none");
    }
    CHECK_FALSE(proof(two_nodes, sys).matches);
}

TEST_CASE("a kernel without NUMA is one node", "[guest][topology]") {
    const topology wanted{1, 2, 2, 1, {}};
    const fake_sysfs sys(wanted);
    sys.remove("devices/system/node");
    CHECK(proof(wanted, sys).difference == "");
    CHECK(proof(wanted, sys).observed == "1n2l2c1t");
}

TEST_CASE("a wrong distance is seen where distances matter, and only there", "[guest][topology]") {
    topology wanted = two_nodes;
    wanted.distances = numa_distances::uniform(25);
    const fake_sysfs sys(two_nodes);
    const auto seen = proof(wanted, sys);
    CHECK_FALSE(seen.matches);
    CHECK(seen.difference == "node0: distance 25 to node1 expected, 20 found");
    CHECK(prove(wanted, {}, read_machine(sys.path())).matches);

    sys.write(fake_sysfs::node_file(1, "distance"), "20\n");
    CHECK(proof(two_nodes, sys).difference == "node1: distance 10 to node1 expected, none found");
    CHECK(prove(two_nodes, {10, 20, 20}, read_machine(sys.path())).difference ==
          "distances: 3 were asked for where 2 nodes have 4");
}

TEST_CASE("SMT siblings that are cores of their own are seen", "[guest][topology]") {
    const topology wanted{1, 1, 2, 2, {}};
    const fake_sysfs sys(wanted);
    SECTION("all of them") {
        for (int cpu = 0; cpu < 4; ++cpu)
            sys.write(fake_sysfs::cpu_file(cpu, "topology/thread_siblings_list"),
                      std::to_string(cpu) + '\n');
        CHECK(proof(wanted, sys).difference == "cpu0: SMT siblings 0-1 expected, 0 found");
        CHECK(proof(wanted, sys).observed == "1n1l4c1t");
    }
    SECTION("numbered core by core instead of side by side") {
        for (int cpu = 0; cpu < 4; ++cpu)
            sys.write(fake_sysfs::cpu_file(cpu, "topology/thread_siblings_list"),
                      cpu % 2 == 0 ? "0,2\n" : "1,3\n");
        CHECK(proof(wanted, sys).difference == "cpu0: SMT siblings 0-1 expected, 0,2 found");
    }
    CHECK_FALSE(proof(wanted, sys).matches);
}

TEST_CASE("without a level 3 the highest unified cache counts, and is named", "[guest][topology]") {
    const topology wanted{1, 1, 4, 1, {}};
    const fake_sysfs sys(wanted);
    for (int cpu = 0; cpu < 4; ++cpu)
        sys.remove(fake_sysfs::cpu_file(cpu, "cache/index3"));
    const auto seen = proof(wanted, sys);
    CHECK_FALSE(seen.matches);
    CHECK(seen.difference == "cpu0: LLC siblings 0-3 expected, 0 (L2) found");

    // A shared level 2 is an LLC like any other.
    for (int cpu = 0; cpu < 4; ++cpu)
        sys.cache(cpu, 2, 2, "Unified", cpu_set::range(0, 3));
    CHECK(proof(wanted, sys).matches);
}

TEST_CASE("no cache at all is a difference, not an LLC of everything", "[guest][topology]") {
    const topology wanted{1, 1, 4, 1, {}};
    const fake_sysfs sys(wanted);
    SECTION("on all CPUs") {
        for (int cpu = 0; cpu < 4; ++cpu)
            sys.remove(fake_sysfs::cpu_file(cpu, "cache"));
        CHECK(proof(wanted, sys).difference ==
              "cpu0: LLC siblings 0-3 expected, no unified cache found");
    }
    SECTION("on one") {
        sys.remove(fake_sysfs::cpu_file(2, "cache"));
        CHECK(proof(wanted, sys).difference ==
              "cpu2: LLC siblings 0-3 expected, no unified cache found");
    }
    CHECK(proof(wanted, sys).observed.starts_with("irregular: 4 CPUs"));
}

TEST_CASE("what can't be read is never a match", "[guest][topology]") {
    const topology wanted{1, 1, 2, 1, {}};
    const fake_sysfs sys(wanted);
    SECTION("a file is missing") {
        sys.remove("devices/system/cpu/online");
        CHECK(proof(wanted, sys).difference.find("devices/system/cpu/online: No such file") !=
              std::string::npos);
    }
    SECTION("a file is nonsense") {
        sys.write(fake_sysfs::cpu_file(1, "topology/thread_siblings_list"), "one\n");
        CHECK(proof(wanted, sys).difference.find("\"one\" is no list of CPUs") !=
              std::string::npos);
    }
    SECTION("there is nothing") {
        sys.remove("devices");
        CHECK(read_machine(sys.path()).cpus.empty());
    }
    CHECK_FALSE(proof(wanted, sys).matches);
    CHECK_FALSE(proof(wanted, sys).difference.empty());
}

TEST_CASE("this machine can be read and agrees with itself about its CPUs", "[guest][topology]") {
    const auto machine = read_machine();
    CHECK(machine.unreadable == "");
    REQUIRE_FALSE(machine.cpus.empty());
    CHECK(static_cast<int>(machine.cpus.size()) == machine.online.count());
    for (const auto& cpu : machine.cpus)
        CHECK(cpu.smt_siblings.contains(cpu.id));
}
