// SPDX-License-Identifier: MIT
// The one place where the verdict on an attempt is made: evidence in, verdict out. No clock, no
// descriptor, no event; the same evidence always gets the same verdict. Host side.
#pragma once

#include <ktstr/check/verdict.hpp>
#include <ktstr/host/attempt/evidence.hpp>
#include <ktstr/linux/exit_text.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include <sys/wait.h>

namespace ktstr::host {

struct judgement {
    verdict result = verdict::pass;
    reason why = reason::none;
    std::string message;             ///< the cause in one line; empty for a pass
    std::vector<std::string> notes;  ///< what else is worth knowing
};

namespace detail {

[[nodiscard]] inline std::string seconds_text(std::chrono::nanoseconds d) {
    const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(d).count() / 100;
    return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " s";
}

[[nodiscard]] inline judgement found(reason why, std::string message) {
    return {verdict_of(why), why, std::move(message), {}};
}

/// A phase took too long: what did not happen in it.
[[nodiscard]] inline judgement judge_late(const evidence& e, const std::string& harness) {
    const auto waited = seconds_text(e.waited);
    const auto closed = e.link_closed ? "; it closed its link and did not end" +
                                            (e.link_words.empty() ? "" : " (" + e.link_words + ')')
                                      : std::string{};
    switch (e.at) {
        case attempt_phase::boot:
            return found(reason::boot_timeout,
                         "the guest did not say hello in " + waited + harness + closed);
        case attempt_phase::preparing:
            return found(reason::hang, "the guest did not start the body in " + waited + closed);
        case attempt_phase::body:
            if (e.link_closed)
                return found(reason::hang,
                             "the guest closed its link while the body ran and did not end");
            if (e.ping_unanswered)
                return found(reason::hang, "the guest has not answered for " + waited +
                                               ", and the body's time is over");
            return found(reason::timeout,
                         "the body did not return in " + waited + ", and the guest did not end it");
        case attempt_phase::collecting:
            break;
    }
    return found(reason::hang, "the guest did not deliver the outcome in " + waited + closed);
}

/// The guest may have answered, and nobody carried it.
[[nodiscard]] inline judgement judge_still(const evidence& e) {
    return found(reason::infrastructure, e.stands_still +
                                             " stands still: its process was stopped (SIGSTOP, or "
                                             "a debugger)");
}

[[nodiscard]] inline judgement judge_ended(const evidence& e, const std::string& harness) {
    if (!e.has_machine)
        return found(reason::infrastructure, "the keeper of the body ended without an outcome");
    if (!e.words.empty() && e.at == attempt_phase::boot)
        return found(reason::infrastructure, e.words);
    if (!e.kvm_words.empty())
        return found(reason::infrastructure, "KVM died under the guest: " + e.kvm_words +
                                                 "; use --accel tcg or --accel nested");
    const auto said = e.qemu_said.empty() ? std::string{} : ": " + e.qemu_said;
    if (e.status && WIFSIGNALED(*e.status))
        return found(reason::infrastructure,
                     "QEMU " + exit_text(*e.status) +
                         (WTERMSIG(*e.status) == SIGKILL ? " (out of memory on the host?)" : said));
    // A guest's power-off is the end of a QEMU that is content.
    if (e.status && WEXITSTATUS(*e.status) != 0)
        return found(reason::infrastructure, "QEMU " + exit_text(*e.status) + said);
    if (!e.harness_line.empty() && e.at == attempt_phase::boot)
        return found(reason::infrastructure, "the guest could not start the test" + harness);
    return found(reason::guest_exit, "the guest powered off without a verdict" + harness);
}

/// What the end says by itself.
[[nodiscard]] inline judgement judge_end(const evidence& e) {
    const auto harness = e.harness_line.empty() ? std::string{} : ": " + e.harness_line;
    switch (e.end) {
        case attempt_end::outcome:
            return {e.outcome->verdict, e.outcome->reason, e.outcome->message, {}};
        case attempt_end::late:
            return e.stands_still.empty() ? judge_late(e, harness) : judge_still(e);
        case attempt_end::unanswered:
            if (!e.stands_still.empty())
                return judge_still(e);
            return found(reason::hang, "the guest has not answered for " + seconds_text(e.waited) +
                                           " while the body ran");
        case attempt_end::process_ended:
            return judge_ended(e, harness);
        case attempt_end::device_ended:
            return found(reason::infrastructure, "vhost-device-vsock ended during the test");
        case attempt_end::kvm_died:
            return found(reason::infrastructure, "KVM died under the guest: " + e.kvm_words +
                                                     "; use --accel tcg or --accel nested");
        case attempt_end::broken_link:
            return found(reason::infrastructure,
                         "the guest sent " + e.words + "; the link is closed");
        case attempt_end::other_version:
            return found(reason::infrastructure, e.words);
        case attempt_end::not_begun:
            return found(e.why_not_begun, e.words);
        case attempt_end::stopped:
            break;
    }
    return found(reason::infrastructure, "interrupted");
}

}  // namespace detail

namespace detail {

[[nodiscard]] inline judgement judge_seen(const evidence& e) {
    auto j = judge_end(e);
    // Whoever interrupts a run wants no verdict, and what never ran has shown nothing.
    if (e.end == attempt_end::stopped || e.end == attempt_end::not_begun)
        return j;

    // A check that failed has failed, whatever came of the attempt afterwards, and whatever the guest
    // makes of it: its word for a pass does not outweigh the failure it has sent.
    // Where it is expected to fail, that would make a pass of a machine that died: there it stays what it was.
    const auto counted = e.outcome ? e.outcome->failed_checks : 0;
    const bool died = j.result == verdict::inconclusive;
    if (std::max(e.failed_checks, counted) > 0 && j.result != verdict::fail &&
        !(e.expect_fail && died)) {
        if (!j.message.empty())
            j.notes.push_back("after the failed check: " + j.message);
        else if (e.failed_checks > counted)
            j.notes.push_back("the guest counted " + std::to_string(counted) +
                              " failed checks and sent " + std::to_string(e.failed_checks));
        j.result = verdict::fail;
        j.why = reason::check;
        j.message.clear();
    }
    if (j.why == reason::check && j.message.empty())
        j.message = e.first_failed.empty() ? "a check failed" : e.first_failed;

    // What the kernel said of itself outranks what the body made of it, and explains a silence. What an emulator
    // did wrong is nobody's failure, and takes none away that was there before.
    if (e.sign && e.emulated && e.ran_replaced_code) {
        if (const bool failed = std::max(e.failed_checks, counted) > 0; failed && !e.expect_fail)
            j = found(reason::check, e.first_failed.empty() ? "a check failed" : e.first_failed);
        else
            j = found(reason::infrastructure,
                      "the emulator executed code that the guest's kernel had replaced (" +
                          e.sign_line +
                          "), which is no fault of kernel, scheduler or test; run it " +
                          "again, or with KVM");
    } else if (e.sign) {
        j.result = verdict::fail;
        j.why = *e.sign;
        j.message = e.sign_line;
    }

    if (!e.expect_fail)
        return j;
    if (is_expected_failure(j.why)) {
        j.notes.push_back("failed as expected: " + j.message);
        j.result = verdict::pass;
        j.why = reason::none;
        j.message.clear();
    } else if (j.result == verdict::pass) {
        j.result = verdict::fail;
        j.why = reason::check;
        j.message = "the test is marked expect_fail, and it passed";
    }
    return j;
}

}  // namespace detail

[[nodiscard]] inline judgement judge(const evidence& e) {
    auto j = detail::judge_seen(e);
    // A pass is one under its scheduler, and that is proved by the name that the kernel gave it.
    if (j.result == verdict::pass && e.scheduler_ordered && e.attached.empty()) {
        auto unproved = detail::found(
            reason::infrastructure,
            "the guest did not prove that the scheduler of the test was ever attached");
        unproved.notes = std::move(j.notes);
        return unproved;
    }
    return j;
}

}  // namespace ktstr::host
