// SPDX-License-Identifier: MIT
#include <ktstr/host/vm/qemu_args.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace ktstr;
using namespace ktstr::host;

namespace {

machine small() {
    machine m;
    m.topology = *parse_topology("2n4l2c2t");
    m.memory_mib = 1025;
    m.kernel = "/k/vmlinux";
    m.initrd = "/k/initrd";
    return m;
}

std::string value_of(const std::vector<std::string>& words, const std::string& option,
                     int nth = 0) {
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
        if (words[i] == option && nth-- == 0)
            return words[i + 1];
    return "(none)";
}

}  // namespace

TEST_CASE("a NUMA node is a socket and an LLC is a die", "[vm]") {
    const auto words = qemu_arguments(small(), {.qmp = 5, .console = 6, .link = 7}, "t");
    CHECK(value_of(words, "-smp") == "16,sockets=2,dies=2,cores=2,threads=2");
    CHECK(value_of(words, "-numa", 0) == "node,nodeid=0,memdev=ram0");
    CHECK(value_of(words, "-numa", 1) == "cpu,node-id=0,socket-id=0");
    CHECK(value_of(words, "-numa", 4) == "dist,src=0,dst=1,val=20");
    // Nothing of an odd size is lost: the last node takes the rest.
    CHECK(value_of(words, "-object", 0) == "memory-backend-ram,id=ram0,size=512M");
    CHECK(value_of(words, "-object", 1) == "memory-backend-ram,id=ram1,size=513M");
}

TEST_CASE("a machine has no network and shut doors", "[vm]") {
    const auto words = qemu_arguments(small(), {.qmp = 5, .console = 6, .link = 7}, "t");
    CHECK(std::find(words.begin(), words.end(), "-nodefaults") != words.end());
    CHECK(std::find(words.begin(), words.end(), "-netdev") == words.end());
    CHECK(std::find(words.begin(), words.end(), "-nic") == words.end());
    CHECK(value_of(words, "-sandbox").starts_with("on,"));
    CHECK(value_of(words, "-sandbox").find("spawn=deny") != std::string::npos);
}

TEST_CASE("each link has its device, and only the one that needs it shares memory", "[vm]") {
    auto m = small();
    m.link = link_kind::vhost_vsock;
    auto words = qemu_arguments(m, {.qmp = 5, .console = 6, .vhost = 8, .cid = 77, .port = 9}, "t");
    CHECK(value_of(words, "-device") == "vhost-vsock-pci,disable-legacy=on,guest-cid=77,vhostfd=8");
    CHECK(value_of(words, "-append").find(" ktstr.link=vsock:9") != std::string::npos);
    CHECK(value_of(words, "-object").starts_with("memory-backend-ram,"));
    m.link = link_kind::vhost_device_vsock;
    words = qemu_arguments(m, {.qmp = 5, .console = 6, .link = 7, .port = 5151}, "t");
    CHECK(value_of(words, "-device") == "vhost-user-vsock-pci,disable-legacy=on,chardev=link");
    CHECK(value_of(words, "-object").starts_with("memory-backend-memfd,share=on,"));
    m.link = link_kind::virtio_serial;
    words = qemu_arguments(m, {.qmp = 5, .console = 6, .link = 7}, "t");
    CHECK(value_of(words, "-append").find(" ktstr.link=serial") != std::string::npos);
}

TEST_CASE("a test's own kernel arguments come last", "[vm]") {
    auto m = small();
    m.kernel_args = {"isolcpus=1", "loglevel=7"};
    CHECK(kernel_command_line(m, {}).ends_with(" isolcpus=1 loglevel=7"));
}

TEST_CASE("an emulated guest is told the rate of its clock, a real one is not", "[vm]") {
    auto m = small();
    m.tsc_khz = 2'450'000;
    CHECK(kernel_command_line(m, {}).find(" tsc_early_khz=2450000") != std::string::npos);
    m.accel = accelerator::kvm;
    CHECK(kernel_command_line(m, {}).find("tsc") == std::string::npos);
}

TEST_CASE("many vCPUs on few host CPUs are emulated in turn", "[vm]") {
    STATIC_REQUIRE_FALSE(better_on_one_thread(8, 2));
    STATIC_REQUIRE(better_on_one_thread(9, 2));
    auto m = small();
    CHECK(value_of(qemu_arguments(m, {}, "t"), "-accel") == "tcg,thread=multi");
    m.one_thread = true;
    CHECK(value_of(qemu_arguments(m, {}, "t"), "-accel") == "tcg,thread=single");
    m.accel = accelerator::kvm;
    CHECK(value_of(qemu_arguments(m, {}, "t"), "-accel") == "kvm");
}

TEST_CASE("memory follows the rule", "[vm]") {
    STATIC_REQUIRE(memory_rule(1, std::nullopt) == 256);
    STATIC_REQUIRE(memory_rule(8, std::nullopt) == 512);
    STATIC_REQUIRE(memory_rule(8, 300) == 512);
    STATIC_REQUIRE(memory_rule(2, 1024) == 1024);
    // An initramfs of 100 MiB needs room for itself twice and for the kernel.
    STATIC_REQUIRE(memory_rule(2, std::nullopt, 100U << 20) == 410);
}

TEST_CASE("performance mode: bound memory, huge pages, no exits when idle", "[vm]") {
    auto m = small();
    m.memory_mib = 1024;
    m.accel = accelerator::kvm;
    const machine_wires wires{.qmp = 5, .console = 6, .link = 7};
    CHECK(value_of(qemu_arguments(m, wires, "t"), "-overcommit") == "(none)");
    m.dedicated = true;
    m.host_nodes = {{0, 2}, {1}};
    auto words = qemu_arguments(m, wires, "t");
    CHECK(value_of(words, "-overcommit") == "cpu-pm=on");
    CHECK(value_of(words, "-cpu").ends_with(",kvm-hint-dedicated=on"));
    CHECK(value_of(words, "-object", 0) ==
          "memory-backend-ram,id=ram0,size=512M,host-nodes=0,host-nodes=2,policy=bind");
    CHECK(value_of(words, "-object", 1) ==
          "memory-backend-ram,id=ram1,size=512M,host-nodes=1,policy=bind");
    m.hugepages = true;
    words = qemu_arguments(m, wires, "t");
    CHECK(value_of(words, "-object", 1) ==
          "memory-backend-memfd,hugetlb=on,hugetlbsize=2M,prealloc=on,share=off,id=ram1,size=512M,"
          "host-nodes=1,policy=bind");
    m.link = link_kind::vhost_device_vsock;
    CHECK(value_of(qemu_arguments(m, wires, "t"), "-object").find("share=on") != std::string::npos);
    // Emulation knows neither.
    m.accel = accelerator::tcg;
    words = qemu_arguments(m, wires, "t");
    CHECK(value_of(words, "-overcommit") == "(none)");
    CHECK(value_of(words, "-cpu").find("kvm-hint") == std::string::npos);
}

TEST_CASE("a template keeps its memory in files, and a clone begins with them", "[vm][clone]") {
    auto m = small();
    m.boot = machine::boot_kind::as_template;
    m.ram = {"/c/ram0", "/c/ram1"};
    m.disks = {"/c/program", "/c/files"};
    const machine_wires wires{.qmp = 5, .console = 6, .link = 7};
    auto words = qemu_arguments(m, wires, "t");
    CHECK(value_of(words, "-object", 1) ==
          "memory-backend-file,id=ram1,size=513M,mem-path=/c/ram1,share=on");
    CHECK(value_of(words, "-append").find(" ktstr.template=2n4l2c2t") != std::string::npos);
    CHECK(value_of(words, "-append").find(" ktstr.distances=10,20,20,10") != std::string::npos);
    CHECK(value_of(words, "-incoming") == "(none)");

    m.boot = machine::boot_kind::clone;
    words = qemu_arguments(m, wires, "t");
    CHECK(value_of(words, "-object", 0) ==
          "memory-backend-file,id=ram0,size=512M,mem-path=/c/ram0,share=off");
    CHECK(value_of(words, "-incoming") == "defer");
    // It runs when it is told to, however early its state was loaded.
    CHECK(std::find(words.begin(), words.end(), "-S") != words.end());
    for (const int disk : {0, 1})
        CHECK(value_of(words, "-drive", disk).find("readonly=on") != std::string::npos);
    CHECK(value_of(words, "-drive", 1).ends_with("=/c/files"));
    // A comma ends an option, unless there are two.
    m.ram = {"/my cache, v2/ram0", "/my cache, v2/ram1"};
    m.disks = {"/my cache, v2/program", "/c,,d/files"};
    words = qemu_arguments(m, wires, "t");
    CHECK(value_of(words, "-object", 0) ==
          "memory-backend-file,id=ram0,size=512M,mem-path=/my cache,, v2/ram0,share=off");
    CHECK(value_of(words, "-drive", 0).ends_with("filename=/my cache,, v2/program"));
    CHECK(value_of(words, "-drive", 1).ends_with("filename=/c,,,,d/files"));
    // Its kernel is in its memory.
    CHECK(value_of(words, "-kernel") == "(none)");
}
