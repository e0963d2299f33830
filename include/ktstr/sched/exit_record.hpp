// SPDX-License-Identifier: MIT
// How a BPF scheduler ended, in the kernel's own words: the kinds it has for that, and the record it
// makes. Data only; the guest fills it from the kernel's events.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ktstr {

/// The kernel's kinds of ends.
enum class scx_exit_kind : std::uint8_t {
    done,               ///< over, and nobody can say how
    unregistered,       ///< from user space: its process took it back, or is gone
    unregistered_bpf,   ///< it ended itself, with scx_bpf_exit()
    unregistered_kern,  ///< the kernel ended it: a CPU came or went
    sysrq,              ///< somebody asked with SysRq-S
    error,              ///< it broke a rule of the kernel's
    error_bpf,          ///< it said so itself, with scx_bpf_error()
    error_stall,        ///< the watchdog: a task could run and did not
    other               ///< a kind of a newer kernel's; `reason` has its words
};

[[nodiscard]] constexpr std::string_view to_text(scx_exit_kind kind) {
    switch (kind) {
        case scx_exit_kind::done:
            return "done";
        case scx_exit_kind::unregistered:
            return "unregistered";
        case scx_exit_kind::unregistered_bpf:
            return "unregistered_bpf";
        case scx_exit_kind::unregistered_kern:
            return "unregistered_kern";
        case scx_exit_kind::sysrq:
            return "sysrq";
        case scx_exit_kind::error:
            return "error";
        case scx_exit_kind::error_bpf:
            return "error_bpf";
        case scx_exit_kind::error_stall:
            return "error_stall";
        case scx_exit_kind::other:
            break;
    }
    return "other";
}

/// Whether the kernel blames the scheduler for an end of that kind.
[[nodiscard]] constexpr bool is_error(scx_exit_kind kind) {
    return kind == scx_exit_kind::error || kind == scx_exit_kind::error_bpf ||
           kind == scx_exit_kind::error_stall;
}

/// The kernel's number of a kind, as enum scx_exit_kind has it.
[[nodiscard]] constexpr scx_exit_kind scx_kind_of(std::uint32_t number) {
    switch (number) {
        case 1:
            return scx_exit_kind::done;
        case 64:
            return scx_exit_kind::unregistered;
        case 65:
            return scx_exit_kind::unregistered_bpf;
        case 66:
            return scx_exit_kind::unregistered_kern;
        case 67:
            return scx_exit_kind::sysrq;
        case 1024:
            return scx_exit_kind::error;
        case 1025:
            return scx_exit_kind::error_bpf;
        case 1026:
            return scx_exit_kind::error_stall;
        default:
            return scx_exit_kind::other;
    }
}

struct scx_exit_record {
    scx_exit_kind kind = scx_exit_kind::other;
    std::string reason{};   ///< the kernel's words for the kind: "runnable task stall"
    std::string message{};  ///< what happened: "victim[106] failed to run for 2.724s"; may be empty
    std::string dump{};     ///< the kernel's dump of the moment, of an error; else empty
    std::int64_t code = 0;  ///< what scx_bpf_exit() was given
};

}  // namespace ktstr
