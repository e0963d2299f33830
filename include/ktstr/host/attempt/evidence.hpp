// SPDX-License-Identifier: MIT
// What is known of one attempt when it is over: how it ended, the guest's last words, the kernel's,
// and the checks that failed. Facts only; what they amount to is said by judge(). Host side.
#pragma once

#include <ktstr/check/verdict.hpp>
#include <ktstr/wire/message.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace ktstr::host {

/// Where an attempt is. It only ever goes forwards.
enum class attempt_phase : std::uint8_t { boot, preparing, body, collecting };

/// What ended an attempt.
enum class attempt_end : std::uint8_t {
    outcome,        ///< the guest said how its body ended
    late,           ///< the time of a phase was over
    unanswered,     ///< a ping in the body was not answered
    process_ended,  ///< QEMU, or the keeper of a host_only body
    device_ended,   ///< the user-space vsock device
    kvm_died,       ///< QEMU said so and waits for somebody to look
    broken_link,    ///< the guest sent what no guest may send
    other_version,  ///< the guest is of another version of ktstr
    not_begun,      ///< the host never let it run
    stopped,        ///< the user asked
};

struct evidence {
    attempt_end end = attempt_end::not_begun;
    attempt_phase at = attempt_phase::boot;  ///< when it ended
    bool has_machine = true;                 ///< false: a host_only body
    bool expect_fail = false;
    bool emulated = false;  ///< an emulator executed the guest's code

    std::chrono::nanoseconds waited{};  ///< for what did not come
    bool ping_unanswered = false;       ///< of late: a ping was on its way
    bool link_closed = false;           ///< of late: by the guest, which lived on
    std::string stands_still{};         ///< a process of the machine's that somebody has stopped
    reason why_not_begun = reason::none;
    std::string words{};          ///< what was broken, refused, or said by QEMU, as `end` has it
    std::string link_words{};     ///< why the link closed, where that is known
    std::string kvm_words{};      ///< QEMU's, when KVM died under the guest
    std::string qemu_said{};      ///< its last line, when it ended
    std::optional<int> status{};  ///< of the process that ended, as waitpid gives it

    std::optional<wire::outcome> outcome{};
    bool scheduler_ordered = false;   ///< the guest was told to start one
    std::string attached{};           ///< the kernel's name for it, as the guest says; empty: never
    std::uint64_t failed_checks = 0;  ///< that arrived, whatever the guest counted
    std::string first_failed{};       ///< the first of them, as text

    std::optional<reason> sign{};  ///< what the kernel said of itself on its console
    std::string sign_line{};
    bool ran_replaced_code =
        false;  ///< its first complaint is one that no CPU gives cause for, see console_watch
    std::string harness_line{};  ///< what the guest's harness said there
};

}  // namespace ktstr::host
