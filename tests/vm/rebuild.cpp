// SPDX-License-Identifier: MIT
// A program and its next build, which replaces it while it runs, and a scheduler of which the same is
// done. Read by rebuild.py. The builds differ in KTSTR_REBUILD_BUILD, and the second one's tests fail.
#include <ktstr/ktstr.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <unistd.h>

using namespace ktstr;
using namespace std::chrono_literals;

#ifndef KTSTR_REBUILD_BUILD
#    define KTSTR_REBUILD_BUILD 1
#endif

namespace {

constexpr scheduler fake{.name = "fake", .binary = "vm_fake_scheduler"};

/// Whether the machine has the scheduler's first build: the second one has this word behind it.
void see_first_scheduler() {
    std::ifstream file("/ktstr/scheduler", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    KTSTR_CHECK(!bytes.empty());
    KTSTR_CHECK(bytes.find(std::string("SECOND") + "_SCHEDULER") == std::string::npos);
}

}  // namespace

KTSTR_TEST(a_scheduler_before, scheduler = fake, scheduler_args = {"stays"}) {
    see_first_scheduler();
}

// Waits, on the host, until the script has put another build in this one's place. Without the script's
// word it waits for nothing.
KTSTR_TEST(a_waits, host_only = true, timeout = 300s) {
    const char* const place = std::getenv("KTSTR_REBUILD_PLACE");
    if (place == nullptr)
        return;
    const std::string here(place);
    std::ofstream(here + "/waits") << "yes";
    while (::access((here + "/replaced").c_str(), F_OK) != 0)
        ::usleep(10'000);
}

KTSTR_TEST(b_on_the_host, host_only = true) {
    KTSTR_CHECK(KTSTR_REBUILD_BUILD == 1);
}

KTSTR_TEST(c_in_a_clone) {
    KTSTR_CHECK(KTSTR_REBUILD_BUILD == 1);
}

KTSTR_TEST(d_cold, no_clone = true) {
    KTSTR_CHECK(KTSTR_REBUILD_BUILD == 1);
}

KTSTR_TEST(s_in_a_clone, scheduler = fake, scheduler_args = {"stays"}) {
    see_first_scheduler();
}

KTSTR_TEST(s_cold, scheduler = fake, scheduler_args = {"stays"}, no_clone = true) {
    see_first_scheduler();
}
