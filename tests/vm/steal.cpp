// SPDX-License-Identifier: MIT
// Steal time has one cause here: the mask of cpu_budget. With it, steal must reach half of what the
// arithmetic predicts; the same test with the mask switched off must fail, see nested.py. And a machine
// around a nested run that goes wrong.
#include <ktstr/ktstr.hpp>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

std::uint64_t steal_ticks() {
    std::ifstream stat("/proc/stat");
    std::string label;
    std::uint64_t value = 0;
    stat >> label;
    for (int field = 1; field <= 8; ++field)
        stat >> value;
    return value;
}

}  // namespace

KTSTR_TEST(masked_cpus_accrue_the_predicted_steal, llcs = 2, cores = 4, no_perf_mode,
           cpu_budget = 2, duration = 5s, requires_steal) {
    const int vcpus = ctx.topology().total_cpus();
    const auto before = steal_ticks();
    execute_steps(ctx, {step{.setup = {ctx.cgroup_def("load").workers(vcpus).work(spin_wait{})},
                             .hold = hold::full}});
    const auto stolen = steal_ticks() - before;
    // Every vCPU wants a host CPU all the time, and there are two for all of them.
    const auto wanted = static_cast<std::uint64_t>(vcpus - 2) * 5 *
                        static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
    KTSTR_CHECK(stolen * 2 >= wanted);
}

/// Runs in the machine around a nested run, and writes what its kernel would write if it oopsed. On a host
/// of its own it does nothing.
KTSTR_TEST(the_outer_kernel_oopses, host_only, timeout = 300s) {
    std::ifstream command_line("/proc/cmdline");
    const std::string words{std::istreambuf_iterator<char>(command_line), {}};
    if (words.find("ktstr.") == std::string::npos)
        return;
    std::ofstream log("/dev/kmsg");
    log << "<0>Oops: 0002 [#1] of a test\n" << std::flush;
    KTSTR_REQUIRE(log.good());
    for (;;)
        ::pause();
}

KTSTR_TEST(vsock_carries_the_link_under_kvm, requires_kvm, duration = 1s) {
    // The harness reached the host; had it been over virtio-serial there would be a port.
    KTSTR_CHECK(::access("/dev/vport0p1", F_OK) != 0);
    KTSTR_CHECK(::access("/dev/vsock", F_OK) == 0);
}
