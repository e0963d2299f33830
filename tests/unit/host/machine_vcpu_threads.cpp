// SPDX-License-Identifier: MIT
#include <ktstr/host/machine/vcpu_threads.hpp>

#include <catch2/catch_test_macros.hpp>

#include <vector>

#include <unistd.h>

using namespace ktstr::host;

TEST_CASE("a thread that several vCPUs share is counted once", "[vcpu]") {
    CHECK(thread_ids({{0, 40, ""}, {1, 40, ""}, {2, 40, ""}}) == std::vector<int>{40});
    CHECK(thread_ids({{0, 40, ""}, {1, 41, ""}, {2, 40, ""}}) == std::vector<int>{40, 41});
    CHECK(thread_ids({}).empty());
}

TEST_CASE("who has no thread has waited for an unknown time, not for none", "[vcpu]") {
    CHECK_FALSE(waited_ns({}, ::getpid()));
    CHECK_FALSE(waited_ns({{0, -1, ""}}, ::getpid()));
}
