// SPDX-License-Identifier: MIT
// How much memory there is for machines, from made-up hosts; and cpusets and performance mode where
// they read and write the same files.
#include <ktstr/host/machine/placement.hpp>
#include <ktstr/host/reserve/cpuset.hpp>
#include <ktstr/host/reserve/host_memory.hpp>
#include <ktstr/host/setup/performance.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

#include <unistd.h>

#include "scratch_directory.hpp"

using namespace ktstr;
using namespace ktstr::host;
using namespace ktstr::host::unit;

namespace {

/// A /proc whose process lives in a cgroup v2 hierarchy, at /a/b.
void write_proc(const scratch_directory& scratch, const std::string& place = "/a/b") {
    scratch.write("proc/meminfo", "MemTotal: 9999999 kB\nMemAvailable: 4194304 kB\n");
    scratch.write("proc/self/mountinfo", "23 1 0:20 / /proc rw - proc proc rw\n30 23 0:27 / " +
                                             (scratch.path() / "cg").string() +
                                             " rw - cgroup2 cgroup2 rw\n");
    scratch.write("proc/self/cgroup", "3:cpuset:/\n0::" + place + "\n");
    std::filesystem::create_directories(scratch.path() / "cg/a/b");
}

}  // namespace

TEST_CASE("memory: margin, promises, and the one that is alone", "[reserve]") {
    CHECK(memory_admits(1000, 0, 700, false));
    CHECK_FALSE(memory_admits(1000, 0, 1000 - memory_margin_mib + 1, false));
    CHECK_FALSE(memory_admits(1000, 300, 700, false));
    CHECK(memory_admits(1000, 300, 0, false));
    CHECK(memory_admits(100, 0, 700, true));
}

TEST_CASE("available memory is the host's, or what a cgroup leaves of it", "[reserve]") {
    const scratch_directory scratch;
    write_proc(scratch);
    const auto available = [&] { return available_memory_mib(scratch.path() / "proc"); };
    CHECK(available() == 4096);
    SECTION("no limit is none") {
        scratch.write("cg/a/b/memory.max", "max\n");
        scratch.write("cg/a/b/memory.current", "1\n");
        CHECK(available() == 4096);
    }
    SECTION("the limit of a cgroup above counts as well") {
        scratch.write("cg/a/memory.max", std::to_string(1024 << 20) + '\n');
        scratch.write("cg/a/memory.current", std::to_string(300 << 20) + '\n');
        CHECK(available() == 724);
        scratch.write("cg/a/memory.stat",
                      "anon 5\ninactive_file " + std::to_string(100 << 20) + "\n");
        CHECK(available() == 824);
    }
    SECTION("a limit above the host's memory changes nothing") {
        scratch.write("cg/a/b/memory.max", "99999999999999\n");
        scratch.write("cg/a/b/memory.current", "0\n");
        CHECK(available() == 4096);
    }
    SECTION("more used than allowed is nothing, not a negative number") {
        scratch.write("cg/a/b/memory.max", "1048576\n");
        scratch.write("cg/a/b/memory.current", "9048576\n");
        CHECK(available() == 0);
    }
    SECTION("a host that does not say") {
        std::filesystem::remove(scratch.path() / "proc/meminfo");
        CHECK_FALSE(available());
    }
    SECTION("a host of cgroup v1") {
        scratch.write("proc/self/mountinfo",
                      "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        CHECK(available() == 4096);
        CHECK_FALSE(ktstr::find_own_cgroup(scratch.path() / "proc"));
    }
}

TEST_CASE("memory that children have taken is counted by parent", "[reserve]") {
    const scratch_directory scratch;
    const auto pages = (10 << 20) / ::sysconf(_SC_PAGESIZE);
    scratch.write("200/stat", "200 (a) b) c) S 100 1 1 0\n");
    scratch.write("200/statm", "99999 " + std::to_string(pages) + " 0\n");
    scratch.write("201/stat", "201 (x) S 101 1 1 0\n");
    scratch.write("201/statm", "99999 " + std::to_string(pages) + " 0\n");
    scratch.write("self/stat", "garbage");
    scratch.write("202/stat", "garbage");
    CHECK(taken_by_children_mib({100}, scratch.path()) == std::map<int, std::int64_t>{{100, 10}});
    CHECK(taken_by_children_mib({7}, scratch.path()).empty());
}

TEST_CASE("a cpuset that can't be says why and leaves nothing", "[reserve]") {
    const scratch_directory scratch;
    const auto refusal = [&] {
        const auto made = cpuset::make("ktstr-x-1", {0}, {0}, scratch.path() / "proc");
        return made ? std::string() : made.error().message();
    };
    SECTION("no cgroup v2") {
        scratch.write("proc/self/mountinfo", "\n");
        CHECK(refusal().find("cgroup") != std::string::npos);
    }
    SECTION("no controller") {
        write_proc(scratch);
        scratch.write("cg/a/b/cgroup.controllers", "cpu memory\n");
        CHECK(refusal().find("no cpuset controller") != std::string::npos);
    }
    SECTION("a kernel that refuses") {
        write_proc(scratch);
        scratch.write("cg/a/b/cgroup.controllers", "cpuset cpu memory\n");
        CHECK(refusal().find("cgroup.type") != std::string::npos);
    }
    CHECK_FALSE(std::filesystem::exists(scratch.path() / "cg/a/b/ktstr-x-1"));
}

TEST_CASE("a cpuset on this host keeps its thread, and goes", "[reserve]") {
    const auto cpus = allowed_cpus();
    auto made = cpuset::make("ktstr-unit-" + std::to_string(::getpid()), {cpus.back()}, {});
    if (!made)
        SKIP(made.error().message());
    const auto directory = made->directory();
    const auto before = host::detail::cpus_of_thread(::gettid());
    REQUIRE(made->take(::gettid()));
    CHECK(host::detail::cpus_of_thread(::gettid()) == std::vector<int>{cpus.back()});
    REQUIRE(
        write_kernel_file(directory.parent_path() / "cgroup.threads", std::to_string(::gettid())));
    CHECK(mask_threads({{.index = 0, .thread_id = ::gettid(), .qom_path = {}}}, before));
    { const auto gone = std::move(*made); }
    CHECK_FALSE(std::filesystem::exists(directory));
}

TEST_CASE("only a killed run's own cgroups are removed", "[reserve]") {
    const scratch_directory scratch;
    for (const char* name : {"ktstr-AbC-1", "ktstr-AbC-22", "ktstr-AbCd-1", "other"})
        std::filesystem::create_directory(scratch.path() / name);
    remove_cgroups_named(scratch.path(), "ktstr-AbC-");
    auto left = names_in(scratch.path());
    std::sort(left.begin(), left.end());
    CHECK(left == std::vector<std::string>{"ktstr-AbCd-1", "other"});
}

TEST_CASE("real threads are masked, pinned and read back", "[reserve]") {
    const auto cpus = allowed_cpus();
    const auto before = host::detail::cpus_of_thread(::gettid());
    const std::vector<vcpu_thread> self{{.index = 0, .thread_id = ::gettid(), .qom_path = {}}};
    SECTION("on a mask") {
        const auto done = place_threads({.mask = {cpus.front()}}, self, ::getpid());
        REQUIRE(done);
        CHECK(done->mask == "affinity");
        CHECK(host::detail::cpus_of_thread(::gettid()) == std::vector<int>{cpus.front()});
    }
    SECTION("nowhere when nothing is asked") {
        const auto done = place_threads({}, self, ::getpid());
        REQUIRE(done);
        CHECK_FALSE(done->mask);
        CHECK(host::detail::cpus_of_thread(::gettid()) == before);
    }
    SECTION("a CPU that is not there is an error") {
        CHECK_FALSE(place_threads({.mask = {8000}}, self, ::getpid()));
        CHECK_FALSE(place_threads({.pins = {8000}}, self, ::getpid()));
    }
    SECTION("more vCPUs than CPUs is an error") {
        CHECK_FALSE(place_threads({.pins = {0, 1}}, self, ::getpid()));
    }
    CHECK(mask_threads(self, before));
}

TEST_CASE("performance mode takes huge pages where enough are free", "[reserve]") {
    const scratch_directory scratch;
    machine m;
    m.topology = {.numa_nodes = 2, .llcs = 2, .cores = 1, .threads = 1};
    m.memory_mib = 258;
    m.accel = accelerator::kvm;
    const auto free = [&](int node, int pages) {
        scratch.write(
            "node/node" + std::to_string(node) + "/hugepages/hugepages-2048kB/free_hugepages",
            std::to_string(pages) + '\n');
    };
    SECTION("enough") {
        free(0, 100);
        free(1, 65);
        CHECK(dedicate(m, {{0}, {1}}, scratch.path()).empty());
        CHECK(m.hugepages);
        CHECK(m.memory_mib == 260);  // a whole page in each node
        CHECK(m.host_nodes == std::vector<std::vector<int>>{{0}, {1}});
    }
    SECTION("too few in the machine's nodes") {
        free(0, 100);
        free(1, 64);
        free(2, 1000);
        const auto notes = dedicate(m, {{0}, {1}}, scratch.path());
        REQUIRE(notes.size() == 1);
        CHECK(notes[0].find("130 of 2 MiB are needed on the machine's nodes and 1 are not free") !=
              std::string::npos);
        CHECK_FALSE(m.hugepages);
        CHECK(m.memory_mib == 258);
    }
    SECTION("a kernel without NUMA binds nothing") {
        CHECK(dedicate(m, {{0}, {0}}, scratch.path()).size() == 1);
        CHECK(m.host_nodes.empty());
    }
}
