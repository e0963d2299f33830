// SPDX-License-Identifier: MIT
// What sysfs says becomes the right host, and machines land where the rules say.
#include <ktstr/host/reserve/cpu_plan.hpp>
#include <ktstr/host/reserve/host_topology.hpp>

#include <catch2/catch_test_macros.hpp>

#include "reserve_host.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::unit;

namespace {

std::vector<int> all_cpus(const host_topology& host) {
    std::vector<int> cpus;
    for (const auto& c : host.cpus)
        cpus.push_back(c.cpu);
    return cpus;
}

using cpus = std::vector<int>;

}  // namespace

TEST_CASE("number lists are read strictly and written back", "[reserve]") {
    CHECK(parse_number_list("0-3,8\n") == cpus{0, 1, 2, 3, 8});
    CHECK(parse_number_list("700") == cpus{700});
    CHECK(parse_number_list("")->empty());
    CHECK(number_list(cpus{0, 1, 2, 3, 8}) == "0-3,8");
    CHECK(number_list(cpus{}).empty());
    for (const char* bad : {"a", "1-", "3-1", "1,", ",1", "-1", "1 2", "99999", "1-2-3", "0x1"})
        CHECK_FALSE(parse_number_list(bad));
}

TEST_CASE("a host is read from sysfs as it is", "[reserve]") {
    const scratch_directory scratch;
    const auto host = regular_host(2, 2, 2, 2);
    write_sysfs(scratch, host);
    const auto seen = read_host_topology(all_cpus(host), scratch.path());
    CHECK(seen.cpus == host.cpus);
    CHECK(seen.distances == host.distances);
    CHECK(seen.llcs() == cpus{0, 1, 2, 3});
    CHECK(seen.nodes_of({0, 9}) == cpus{0, 1});

    SECTION("only the CPUs that may be used") {
        const auto part = read_host_topology({5, 14}, scratch.path());
        CHECK(part.cpus == std::vector<host_cpu>{host.cpus[5], host.cpus[14]});
        CHECK(part.llcs() == cpus{1, 3});
    }
    SECTION("LLCs of two levels keep apart though the kernel's numbers meet") {
        // CPU 15 has no L3: its L2 is the last, and its number is another L3's.
        std::filesystem::remove_all(scratch.path() / "cpu/cpu15/cache/index3");
        scratch.write("cpu/cpu15/cache/index2/id", "0\n");
        scratch.write("cpu/cpu15/cache/index2/shared_cpu_list", "15\n");
        const auto mixed = read_host_topology(all_cpus(host), scratch.path());
        CHECK(mixed.cpus[0].llc != mixed.cpus[15].llc);
        CHECK(mixed.cpus[15].llc == 15);
        CHECK(mixed.llcs() == cpus{0, 4, 8, 12, 15});
        // And every process says so, whichever CPUs it may use itself.
        CHECK(read_host_topology({4}, scratch.path()).cpus[0].llc == 4);
    }
    SECTION("without numbers the lowest CPU names an LLC") {
        for (const int cpu : all_cpus(host))
            std::filesystem::remove(scratch.path() / ("cpu/cpu" + std::to_string(cpu)) /
                                    "cache/index3/id");
        CHECK(read_host_topology(all_cpus(host), scratch.path()).llcs() == cpus{0, 4, 8, 12});
    }
}

TEST_CASE("a host that tells nothing is one LLC in one node", "[reserve]") {
    const scratch_directory scratch;
    const auto host = read_host_topology({0, 1, 7}, scratch.path());
    CHECK(host.cpus == std::vector<host_cpu>{{0, 0, 0, 0}, {1, 0, 0, 1}, {7, 0, 0, 7}});
    CHECK(host.llcs() == cpus{0});
    CHECK(host.distance(0, 0) == 10);
    CHECK(host.distance(0, 1) == 20);
}

TEST_CASE("machines fill one LLC before the next", "[reserve]") {
    const auto host = regular_host(2, 2, 4, 1);
    host_use use;
    SECTION("an empty host") {
        CHECK(plan_shared(host, use, 3)->cpus == cpus{0, 1, 2});
    }
    SECTION("beside others rather than in a free LLC") {
        use.taken_cpus = {8};
        use.llcs[2] = llc_use::shared;
        CHECK(plan_shared(host, use, 3)->cpus == cpus{9, 10, 11});
        CHECK(plan_shared(host, use, 3)->llcs == cpus{2});
    }
    SECTION("but not where there is no room") {
        use.taken_cpus = {8};
        use.llcs[2] = llc_use::shared;
        CHECK(plan_shared(host, use, 4)->cpus == cpus{0, 1, 2, 3});
    }
    SECTION("the tighter of two shared ones") {
        use.taken_cpus = {0, 4, 5};
        use.llcs = {{0, llc_use::shared}, {1, llc_use::shared}};
        CHECK(plan_shared(host, use, 2)->cpus == cpus{6, 7});
    }
    SECTION("two LLCs of one node, when one is too small") {
        use.taken_cpus = {0};
        use.llcs[0] = llc_use::shared;
        CHECK(plan_shared(host, use, 6)->cpus == cpus{1, 2, 3, 4, 5, 6});
        const auto plan = plan_shared(host, use, 8);  // not 7 here and 1 in the other node
        CHECK(plan->llcs == cpus{2, 3});
        CHECK(plan->cpus == cpus{8, 9, 10, 11, 12, 13, 14, 15});
    }
    SECTION("all nodes, when one is too small") {
        CHECK(plan_shared(host, use, 16)->llcs == cpus{0, 1, 2, 3});
    }
    SECTION("never where somebody has an LLC alone") {
        use.llcs[0] = llc_use::exclusive;
        CHECK(plan_shared(host, use, 1)->llcs == cpus{1});
        CHECK_FALSE(plan_shared(host, use, 13));
    }
    SECTION("and not at all while there are too few") {
        use.taken_cpus = {3};
        CHECK_FALSE(plan_shared(host, use, 16));
        CHECK(plan_shared(host, use, 15));
        CHECK_FALSE(plan_shared(host, use, 0));
    }
}

TEST_CASE("what overflows goes to the nearest node", "[reserve]") {
    auto host = regular_host(3, 1, 2, 1);
    host.distances[{0, 1}] = 40;
    host.distances[{0, 2}] = 21;
    host_use use;
    CHECK(plan_shared(host, use, 3)->llcs == cpus{0, 2});
    CHECK(plan_shared(host, use, 2)->llcs == cpus{0});
}

TEST_CASE("whole cores are taken first", "[reserve]") {
    // As x86 numbers them: CPU 0 and 4 are one core.
    host_topology host;
    for (int cpu = 0; cpu < 8; ++cpu)
        host.cpus.push_back({.cpu = cpu, .core = cpu % 4});
    CHECK(plan_shared(host, {}, 2)->cpus == cpus{0, 4});
}

TEST_CASE("performance mode: an LLC each, a CPU each, and one more", "[reserve]") {
    const auto host = regular_host(2, 2, 4, 1);
    const topology machine{.numa_nodes = 1, .llcs = 2, .cores = 3, .threads = 1};
    const auto plan = plan_dedicated(host, {}, machine);
    REQUIRE(plan);
    CHECK(plan->own_llcs == cpus{0, 1});
    CHECK(plan->pins == cpus{0, 1, 2, 4, 5, 6});
    CHECK(plan->service_cpu == 8);  // in an LLC that is not the machine's
    CHECK(plan->llcs == cpus{0, 1, 2});
    CHECK(plan->cpus == cpus{0, 1, 2, 4, 5, 6, 8});
    CHECK(plan->nodes == std::vector<cpus>{{0}});

    SECTION("nodes behind nodes") {
        const topology wide{.numa_nodes = 2, .llcs = 4, .cores = 3, .threads = 1};
        const auto both = plan_dedicated(host, {}, wide);
        REQUIRE(both);
        CHECK(both->nodes == std::vector<cpus>{{0}, {1}});
        CHECK(both->own_llcs == cpus{0, 1, 2, 3});
        CHECK(both->service_cpu == 3);  // no other is left
    }
    SECTION("an LLC that others use is not free") {
        host_use use;
        use.llcs[0] = llc_use::shared;
        use.taken_cpus = {0};
        CHECK(plan_dedicated(host, use, machine)->own_llcs == cpus{2, 3});
        use.llcs[2] = use.llcs[3] = llc_use::exclusive;
        CHECK_FALSE(plan_dedicated(host, use, machine));
    }
    SECTION("siblings to siblings, and whole cores otherwise") {
        const auto smt = regular_host(1, 2, 2, 2);
        const topology pairs{.numa_nodes = 1, .llcs = 1, .cores = 2, .threads = 2};
        CHECK(plan_dedicated(smt, {}, pairs)->pins == cpus{0, 1, 2, 3});
        const topology singles{.numa_nodes = 1, .llcs = 1, .cores = 2, .threads = 1};
        CHECK(plan_dedicated(smt, {}, singles)->pins == cpus{0, 2});
    }
}

TEST_CASE("why performance mode is impossible is said with numbers", "[reserve]") {
    const auto says = [](const std::optional<std::string>& text, const char* part) {
        return text && text->find(part) != std::string::npos;
    };
    const auto host = regular_host(1, 2, 2, 1);
    const auto lacks = [&](topology t) { return dedicated_lacks(host, t, host.cpus.size()); };
    CHECK_FALSE(lacks({.numa_nodes = 1, .llcs = 1, .cores = 2, .threads = 1}));
    CHECK_FALSE(lacks({.numa_nodes = 1, .llcs = 2, .cores = 1, .threads = 1}));
    CHECK(says(lacks({.numa_nodes = 1, .llcs = 2, .cores = 2, .threads = 1}), "needs 5 host CPUs"));
    CHECK(says(lacks({.numa_nodes = 1, .llcs = 3, .cores = 1, .threads = 1}),
               "each of the machine's 3, and this host has 2"));
    CHECK(says(lacks({.numa_nodes = 1, .llcs = 1, .cores = 3, .threads = 1}),
               "1 host LLC of 3 CPUs"));
    // A cap of the run counts like a small host.
    CHECK(says(dedicated_lacks(host, {.numa_nodes = 1, .llcs = 1, .cores = 2, .threads = 1}, 2),
               "needs 3 host CPUs (2 for vCPUs and one for QEMU), and this run may use 2"));
}
