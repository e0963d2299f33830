// SPDX-License-Identifier: MIT
// How long the host waits for a machine, and that a slower one is waited for longer.
#include <ktstr/host/machine/boot_limit.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace ktstr::host;
using namespace std::chrono_literals;

TEST_CASE("a machine inside an emulated one is waited for as for an emulated one", "[limits]") {
    CHECK(boot_limit(accelerator::kvm, 8, 1) == 64s);
    CHECK(boot_limit(accelerator::tcg, 8, 1) == 160s);
    CHECK(boot_limit(accelerator::kvm, 8, 1.01) >= boot_limit(accelerator::tcg, 8, 1));
    // A slowness between two whole numbers counts as what it is, and one beyond belief does not.
    CHECK(boot_limit(accelerator::kvm, 8, 2.5) == 400s);
    CHECK(boot_limit(accelerator::kvm, 8, 1000) == 480s);
}
