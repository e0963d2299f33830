// SPDX-License-Identifier: MIT
#include <ktstr/host/clone/attached_template.hpp>
#include <ktstr/host/clone/machine_template.hpp>
#include <ktstr/host/clone/payload.hpp>
#include <ktstr/host/initramfs/test_program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "scratch_directory.hpp"
#include "small_elf.hpp"

using namespace ktstr;
using namespace ktstr::host;
using unit::scratch_directory;

TEST_CASE("whatever changes a machine changes its template's key", "[clone]") {
    const scratch_directory scratch;
    template_request request;
    request.machine.kernel = scratch.write("vmlinux", "kernel");
    request.machine.memory_mib = 256;
    request.qemu.path = scratch.write("qemu", "qemu");
    request.qemu.version_text = "10";
    request.base_id = "libraries";
    request.program_id = "program";
    request.agent_id = "agent";
    request.disk_sizes = {64U << 20, 64U << 20};
    const auto key = template_key(request);
    REQUIRE(key);

    using change = std::function<void(template_request&)>;
    const std::vector<change> other{
        [](auto& r) { r.machine.topology = *parse_topology("1n2l4c1t"); },
        [](auto& r) { r.machine.memory_mib = 320; },
        [](auto& r) { r.machine.kernel_args.emplace_back("quiet"); },
        [](auto& r) { r.machine.accel = accelerator::kvm; },
        [](auto& r) { r.machine.one_thread = true; },
        [](auto& r) { r.machine.link = link_kind::vhost_vsock; },
        [&](auto& r) { r.machine.kernel = scratch.write("vmlinux2", "kernel"); },
        [&](auto& r) { r.qemu.path = scratch.write("qemu2", "qemu"); },
        [](auto& r) { r.qemu.version_text = "11"; },
        [](auto& r) { r.base_id = "other libraries"; },
        [](auto& r) { r.agent_id = "other agent"; },
        [](auto& r) { r.agent_id = ""; },
        [](auto& r) { r.disk_sizes[0] *= 2; },
        [](auto& r) { r.disk_sizes[1] *= 2; },
    };
    for (std::size_t i = 0; i < other.size(); ++i) {
        INFO("change " << i);
        auto changed = request;
        other[i](changed);
        const auto its = template_key(changed);
        REQUIRE(its);
        CHECK(*its != *key);
    }
    // And what differs from run to run, or from build to build, does not.
    const std::vector<change> same{
        [](auto& r) { r.program_id = "rebuilt"; },
        [](auto& r) { r.machine.tsc_khz = 2'000'001; },
        [](auto& r) { r.machine.initrd = "/cache/another"; },
        [](auto& r) { r.machine.disks = {"/cache/another"}; },
        [](auto& r) { r.disk = "/cache/another"; },
        [](auto& r) { r.slowdown = 4; },
        [](auto& r) { r.private_dir = "/tmp/another"; },
    };
    for (std::size_t i = 0; i < same.size(); ++i) {
        INFO("no change " << i);
        auto changed = request;
        same[i](changed);
        const auto its = template_key(changed);
        REQUIRE(its);
        CHECK(*its == *key);
    }
    // What KVM is on this host is of no matter to emulation, and is to a machine that was saved under it.
    auto kvm = request;
    kvm.host_kvm = "another kernel";
    CHECK(*template_key(kvm) == *key);
    kvm.machine.accel = accelerator::kvm;
    const auto under_another = template_key(kvm);
    kvm.host_kvm = kvm_of_host();
    REQUIRE(under_another);
    CHECK(*template_key(kvm) != *under_another);
    // Of an agent that nobody has named, only the program itself is known to have it.
    request.agent_id = "";
    const auto own = template_key(request);
    request.program_id = "rebuilt";
    CHECK(*template_key(request) != *own);
    request.machine.kernel = "/no/such/kernel";
    CHECK_FALSE(template_key(request));
}

TEST_CASE("whatever is attached in a template is in its key", "[clone]") {
    wire::run_test order{.scheduler = "/ktstr/scheduler",
                         .scheduler_args = {"--slice", "5"},
                         .sysctls = {"kernel.a=1"}};
    const auto key = attached_key("plain", "files", "", order);
    CHECK(attached_key("another", "files", "", order) != key);
    CHECK(attached_key("plain", "rebuilt", "", order) != key);
    CHECK(attached_key("plain", "files", "program", order) != key);
    CHECK(attached_key("plain", "files", "another", order) !=
          attached_key("plain", "files", "program", order));
    using change = std::function<void(wire::run_test&)>;
    const std::vector<change> other{
        [](auto& o) { o.scheduler_args[1] = "6"; },
        [](auto& o) { o.scheduler_args = {"--slice5"}; },
        [](auto& o) { o.scheduler_args = {"--slice 5"}; },
        [](auto& o) { o.scheduler_args.emplace_back(); },
        [](auto& o) {
            o.scheduler_args = {"--slice", "5", "kernel.a=1"};
            o.sysctls.clear();
        },
        [](auto& o) { o.sysctls = {"kernel.a=2"}; },
        [](auto& o) { o.sysctls.clear(); },
    };
    for (std::size_t i = 0; i < other.size(); ++i) {
        INFO("change " << i);
        auto changed = order;
        other[i](changed);
        CHECK(attached_key("plain", "files", "", changed) != key);
    }
    // Which test it is for does not matter.
    order.name = "another test";
    order.scheduler_name = "another name";
    order.timeout_ms = 5;
    CHECK(attached_key("plain", "files", "", order) == key);
}

TEST_CASE("what is known of an attach is told to later runs", "[clone]") {
    const scratch_directory scratch;
    const cache in(scratch.path() / "cache");
    CHECK_FALSE(attached_before(in, "k"));
    remember_attached(in, "k", "", "simple attached");
    CHECK(attached_before(in, "k") == "");
    CHECK_FALSE(attached_before(in, "other"));
    remember_attached(in, "k", "it did not come to rest", "simple attached");
    CHECK(attached_before(in, "k") == "it did not come to rest");
}

TEST_CASE("a disk has room, and grows in steps", "[clone]") {
    STATIC_REQUIRE(payload_disk_size(1) == 16U << 20);
    STATIC_REQUIRE(payload_disk_size(16U << 20) == 16U << 20);
    STATIC_REQUIRE(payload_disk_size((16U << 20) + 1) == 32U << 20);
    STATIC_REQUIRE(program_room(1) == 8U << 20);
    STATIC_REQUIRE(program_room((8U << 20) + 1) == 16U << 20);
}

TEST_CASE("a program is what its segments cover", "[clone]") {
    const scratch_directory scratch;
    const auto loaded = unit::elf_with_notes(unit::note(4, "unit", "text"));
    CHECK(loadable_size(loaded) == loaded.size());
    CHECK(loadable_size(loaded + "debug information") == loaded.size());
    CHECK(loadable_size("#!/bin/sh") == 9);
    CHECK(loadable_size(loaded.substr(0, 70)) == 70);  // its headers are cut off
    const auto program = test_program::open(scratch.write("a", loaded));
    const auto rebuilt = test_program::open(scratch.write("b", loaded + "other debug information"));
    const auto changed =
        test_program::open(scratch.write("c", unit::elf_with_notes(unit::note(4, "unit", "body"))));
    REQUIRE((program && rebuilt && changed));
    CHECK(program->bytes() == loaded);
    CHECK(rebuilt->id() == program->id());
    CHECK(changed->id() != program->id());
    CHECK_FALSE(test_program::open(scratch.path() / "none"));
}

// A template's kernel has looked at the file system of its first disk, and a clone's kernel does not
// look again: all but the program's own bytes must be the same for every program.
TEST_CASE("the disks of two programs differ in the program alone", "[clone]") {
    const scratch_directory scratch;
    std::string images[2];
    const std::string programs[2] = {std::string(5000, 'a'), std::string(90'000, 'b')};
    for (int i = 0; i < 2; ++i) {
        guest_tree tree;
        REQUIRE(tree.add_text("/init", programs[i], 0755, tree_layer::top,
                              program_room(programs[i].size())));
        const auto path = scratch.path() / std::to_string(i);
        const auto size = host::detail::make_disk(tree, path);
        REQUIRE(size);
        CHECK(*size == std::filesystem::file_size(path));
        images[i] = unit::content_of(path);
    }
    const auto at = images[0].find(programs[0]);
    REQUIRE(at != std::string::npos);
    CHECK(images[1].find(programs[1]) == at);
    CHECK(at % 4096 == 0);
    CHECK(images[0].size() == images[1].size());
    CHECK(images[0].substr(0, at) == images[1].substr(0, at));
    CHECK(images[1].find_first_not_of('\0', at + programs[1].size()) == std::string::npos);
}

TEST_CASE("a template says what it is, and its words are not in its key") {
    const unit::scratch_directory scratch;
    template_request request;
    request.machine.topology = {.numa_nodes = 1, .llcs = 2, .cores = 4, .threads = 1};
    request.machine.memory_mib = 512;
    request.machine.kernel = scratch.write("vmlinux", "kernel");
    request.qemu.path = scratch.write("qemu", "program");
    const auto key = template_key(request);
    REQUIRE(key);
    CHECK(about_template(request) ==
          "1n2l4c1t, 512 MiB, tcg, kernel " + request.machine.kernel.string() + ", virtio-serial");
    request.kernel_release = "7.3.4-unit";
    CHECK(about_template(request) == "1n2l4c1t, 512 MiB, tcg, kernel 7.3.4-unit, virtio-serial");
    CHECK(*template_key(request) == *key);
    request.machine.kernel_args = {"isolcpus=1"};
    CHECK(about_template(request).ends_with(", virtio-serial, isolcpus=1"));
}

TEST_CASE("a host's KVM is known by its kernel and microcode", "[clone]") {
    const char* const cpuinfo = "processor\t: 0\nmicrocode\t: 0x1\ncpu MHz\t: 1000.1\n\n";
    ::utsname kernel{};
    std::strcpy(kernel.release, "6.1");
    std::strcpy(kernel.version, "#1");
    const auto here = kvm_of_host(kernel, cpuinfo);
    CHECK(kvm_of_host(kernel, "processor\t: 0\nmicrocode\t: 0x1\ncpu MHz\t: 1000.2\n\n") == here);
    CHECK(kvm_of_host(kernel, "processor\t: 0\nmicrocode\t: 0x2\ncpu MHz\t: 1000.1\n\n") != here);
    auto other = kernel;
    std::strcpy(other.release, "6.2");
    CHECK(kvm_of_host(other, cpuinfo) != here);
    other = kernel;
    std::strcpy(other.version, "#2");
    CHECK(kvm_of_host(other, cpuinfo) != here);
}
