// SPDX-License-Identifier: MIT
// A test is a function with a machine attached to it. This one gets two LLCs of two cores each, runs
// as root in a kernel of its own, and needs no KVM.
#include <ktstr/ktstr.hpp>

#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

KTSTR_TEST(hello_from_a_machine_of_its_own, llcs = 2, cores = 2, duration = 1s, tags = {"smoke"}) {
    KTSTR_CHECK(ctx.topology().total_cpus() == 4);
    KTSTR_CHECK(ctx.topology().cpus_in_llc(1).count() == 2);
    KTSTR_CHECK(::sysconf(_SC_NPROCESSORS_ONLN) == 4);

    const auto result = execute_steps(
        ctx,
        {step{.setup = {ctx.cgroup_def("load").workers(4).work(spin_wait{})}, .hold = hold::full}});
    KTSTR_CHECK(result.iterations() > 0);
}
