// SPDX-License-Identifier: MIT
// The unit tests of the guest side, once more where they belong: in a machine, whose kernel has
// cgroup version 2 and where this is root, so that none of them is skipped for want of either.
#include <ktstr/ktstr.hpp>

#include <catch2/catch_session.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include <cstdint>

using namespace ktstr;
using namespace std::chrono_literals;

namespace {

std::uint64_t passed_cases = 0, skipped_cases = 0;

class case_counter : public Catch::EventListenerBase {
public:
    using EventListenerBase::EventListenerBase;

    void testRunEnded(const Catch::TestRunStats& run) override {
        passed_cases = run.totals.testCases.passed;
        skipped_cases = run.totals.testCases.skipped;
    }
};
CATCH_REGISTER_LISTENER(case_counter)

}  // namespace

KTSTR_TEST(guest_units, cores = 2, duration = 1s, timeout = 200s) {
    Catch::Session session;
    const char* const arguments[] = {"guest_units", "--order", "rand"};
    KTSTR_CHECK(session.run(3, arguments) == 0);
    KTSTR_CHECK(passed_cases > 0u);
    KTSTR_CHECK(skipped_cases == 0u);
}
