// SPDX-License-Identifier: MIT
// The verdict on made-up evidence: one case for each reason of the contract, and what outranks what.
#include <ktstr/host/attempt/judge.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <optional>
#include <set>
#include <string>

using namespace ktstr;
using namespace ktstr::host;

namespace {

evidence said(reason why, std::string message = {}) {
    evidence e{.end = attempt_end::outcome, .at = attempt_phase::collecting};
    e.outcome =
        wire::outcome{.verdict = verdict_of(why), .reason = why, .message = std::move(message)};
    return e;
}

evidence signed_by(reason sign, evidence e) {
    e.sign = sign;
    e.sign_line = "the kernel's line";
    return e;
}

evidence ended(attempt_end how, attempt_phase at = attempt_phase::body) {
    return {.end = how, .at = at};
}

/// Evidence for each reason there is.
evidence evidence_of(reason why) {
    switch (why) {
        case reason::panic:
        case reason::oops:
        case reason::lockup:
            return signed_by(why, ended(attempt_end::process_ended));
        case reason::guest_exit:
            return ended(attempt_end::process_ended);
        case reason::hang:
            return ended(attempt_end::unanswered);
        case reason::boot_timeout:
            return ended(attempt_end::late, attempt_phase::boot);
        case reason::requirement: {
            auto e = ended(attempt_end::not_begun, attempt_phase::boot);
            e.why_not_begun = reason::requirement;
            return e;
        }
        default:
            return said(why, "why");
    }
}

}  // namespace

TEST_CASE("a pass under a scheduler needs a proof that it was attached", "[judge]") {
    for (const bool expect_fail : {false, true}) {
        auto e = said(expect_fail ? reason::check : reason::none, expect_fail ? "a check" : "");
        e.expect_fail = expect_fail;
        CHECK(judge(e).result == verdict::pass);  // no scheduler, no proof
        e.scheduler_ordered = true;
        CHECK(judge(e).result == verdict::inconclusive);
        CHECK(judge(e).why == reason::infrastructure);
        CHECK(judge(e).message.find("did not prove") != std::string::npos);
        e.attached = "simple";
        CHECK(judge(e).result == verdict::pass);
    }
    // A failure needs none.
    auto e = said(reason::scheduler_attach, "why");
    e.scheduler_ordered = true;
    CHECK(judge(e).why == reason::scheduler_attach);
}

TEST_CASE("every reason of the contract has its verdict", "[judge]") {
    for (int r = 0; r <= static_cast<int>(reason::skipped); ++r) {
        const auto why = static_cast<reason>(r);
        INFO(to_text(why));
        const auto j = judge(evidence_of(why));
        CHECK(j.why == why);
        CHECK(j.result == verdict_of(why));
    }
}

TEST_CASE("expect_fail turns a failed check and a pass around and nothing else", "[judge]") {
    for (int r = 0; r <= static_cast<int>(reason::skipped); ++r) {
        const auto why = static_cast<reason>(r);
        INFO(to_text(why));
        auto e = evidence_of(why);
        e.expect_fail = true;
        const auto j = judge(e);
        if (why == reason::check) {
            CHECK(j.result == verdict::pass);
            CHECK(j.why == reason::none);
            CHECK(j.message.empty());
            CHECK(j.notes.back().find("failed as expected") == 0);
        } else if (why == reason::none) {
            CHECK(j.result == verdict::fail);
            CHECK(j.why == reason::check);
        } else {
            CHECK(j.result == verdict_of(why));
            CHECK(j.why == why);
        }
    }
    // A failed check and then a panic is a panic.
    auto e = signed_by(reason::panic, said(reason::check, "a == b"));
    e.expect_fail = true;
    e.failed_checks = 1;
    CHECK(judge(e).why == reason::panic);
    CHECK(judge(e).result == verdict::fail);
}

TEST_CASE("the kernel's word outranks every other but that nothing ran", "[judge]") {
    for (int r = 0; r <= static_cast<int>(reason::skipped); ++r)
        for (const reason sign : {reason::panic, reason::oops, reason::lockup}) {
            const auto why = static_cast<reason>(r);
            INFO(to_text(why) << ' ' << to_text(sign));
            const auto j = judge(signed_by(sign, evidence_of(why)));
            CHECK(j.why == (why == reason::requirement ? why : sign));
        }
    CHECK(judge(signed_by(reason::oops, ended(attempt_end::stopped))).message == "interrupted");
    CHECK(judge(signed_by(reason::panic, ended(attempt_end::broken_link))).why == reason::panic);
}

TEST_CASE("a failed check outranks whatever is no failure", "[judge]") {
    for (const reason why : {reason::none, reason::skipped, reason::infrastructure,
                             reason::topology_mismatch, reason::no_data})
        for (const bool counted : {false, true}) {
            INFO(to_text(why) << counted);
            auto e = said(why, why == reason::none ? "" : "scenario: no cgroup");
            e.failed_checks = counted ? 0 : 1;
            e.outcome->failed_checks = counted ? 1 : 0;
            e.first_failed = counted ? "" : "a.cpp:1: a == b";
            const auto j = judge(e);
            CHECK(j.result == verdict::fail);
            CHECK(j.why == reason::check);
            CHECK(j.message == (counted ? "a check failed" : "a.cpp:1: a == b"));
            // What else was said is not lost.
            CHECK(j.notes.size() == (why == reason::none && counted ? 0 : 1));
        }
    for (const reason why : {reason::exception, reason::timeout, reason::scheduler_exit}) {
        auto e = said(why, "why");
        e.failed_checks = 1;
        CHECK(judge(e).why == why);
    }
    for (const auto how : {attempt_end::process_ended, attempt_end::device_ended,
                           attempt_end::kvm_died, attempt_end::broken_link}) {
        auto e = ended(how);
        e.status = SIGKILL;
        CHECK(judge(e).result == verdict::inconclusive);
        e.failed_checks = 1;
        CHECK(judge(e).why == reason::check);
        // A machine that died is not what a test expects, whatever it had said before.
        e.expect_fail = true;
        CHECK(judge(e).result == verdict::inconclusive);
    }
}

TEST_CASE("the end of a process is told by its best witness", "[judge]") {
    auto e = ended(attempt_end::process_ended, attempt_phase::boot);
    e.status = SIGKILL;
    e.harness_line = "cannot mount";
    e.kvm_words = "KVM internal error";
    e.words = "qemu-system-x86_64: no such device";
    std::set<std::string> told;
    const auto tell = [&] {
        const auto j = judge(e);
        CHECK(j.why == reason::infrastructure);
        told.insert(j.message);
    };
    tell();
    CHECK(told.contains("qemu-system-x86_64: no such device"));
    e.words.clear();
    tell();
    e.kvm_words.clear();
    tell();
    CHECK(told.contains("QEMU was killed by SIGKILL (out of memory on the host?)"));
    e.status = SIGABRT;
    e.qemu_said = "qemu: assertion failed";
    tell();
    CHECK(told.contains("QEMU was killed by SIGABRT: qemu: assertion failed"));
    e.status = 0;
    tell();
    CHECK(told.size() == 5);
    e.harness_line.clear();
    CHECK(judge(e).why == reason::guest_exit);
}

TEST_CASE("who carries a guest's words is looked at before the guest is blamed", "[judge]") {
    for (auto e : {ended(attempt_end::unanswered), ended(attempt_end::late),
                   ended(attempt_end::late, attempt_phase::collecting)}) {
        CHECK(judge(e).result == verdict::fail);
        e.stands_still = "vhost-device-vsock";
        CHECK(judge(e).result == verdict::inconclusive);
        CHECK(judge(e).why == reason::infrastructure);
        CHECK(judge(e).message.find("vhost-device-vsock stands still") == 0);
    }
    // What was said before counts.
    auto delivered = said(reason::none);
    delivered.stands_still = "vhost-device-vsock";
    CHECK(judge(delivered).result == verdict::pass);
    auto failed = ended(attempt_end::unanswered);
    failed.stands_still = "vhost-device-vsock";
    failed.failed_checks = 1;
    CHECK(judge(failed).why == reason::check);
}

TEST_CASE("what an emulator did wrong is nobody's failure", "[judge]") {
    auto e = signed_by(reason::panic, ended(attempt_end::process_ended));
    e.ran_replaced_code = true;
    CHECK(judge(e).why == reason::panic);  // a CPU does not, so it is the kernel
    e.emulated = true;
    CHECK(judge(e).result == verdict::inconclusive);
    CHECK(judge(e).why == reason::infrastructure);
    CHECK(judge(e).message.find("the kernel's line") != std::string::npos);
    e.expect_fail = true;
    CHECK(judge(e).result == verdict::inconclusive);
    e.failed_checks = 1;
    CHECK(judge(e).result == verdict::inconclusive);
    e.expect_fail = false;
    CHECK(judge(e).why == reason::check);
    // A pass that came before is none, and other complaints are the kernel's.
    auto passed = signed_by(reason::oops, said(reason::none));
    passed.emulated = passed.ran_replaced_code = true;
    CHECK(judge(passed).result == verdict::inconclusive);
    passed.ran_replaced_code = false;
    CHECK(judge(passed).why == reason::oops);
}
