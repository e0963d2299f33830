// SPDX-License-Identifier: MIT
#include <ktstr/host/clone/machine_template.hpp>

#include <catch2/catch_test_macros.hpp>

#include "scratch_directory.hpp"

using namespace ktstr::host;

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
