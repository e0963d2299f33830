// SPDX-License-Identifier: MIT
// Reads a guest's console as it comes: keeps it, splits it into lines, and recognises the lines by
// which a kernel says that it died, oopsed or locked up. A body is root in its guest: one that writes
// such a line to /dev/kmsg, or to /dev/console with a time stamp before it, has said it in the
// kernel's name, and is believed. Host side.
#pragma once

#include <ktstr/check/verdict.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

/// A line of the kernel's by which it says that something is wrong with it.
struct console_sign {
    std::string_view begins;  ///< how the message begins
    std::string_view later;   ///< what it must hold behind that; may be empty
    ktstr::reason reason;
};

/// Beside each: where the kernel prints it. From the sources of 6.1 and the texts in 7.3's image; a text
/// that only one of them has is marked. What is only a warning (`WARNING: ... at`) is no sign, and neither
/// are `sched: RT throttling activated`, which is a limit doing its work, and `sched_ext: ...`, which is
/// about the scheduler under test and has a verdict of its own.
inline constexpr std::array console_signs{
    // The end.
    console_sign{"Kernel panic - not syncing", "", reason::panic},  // kernel/panic.c panic()
    console_sign{"traps: PANIC: double fault", "", reason::panic},  // arch/x86/kernel/traps.c
    // An exception in kernel mode. arch/x86/kernel/dumpstack.c __die_header(): before 6.8 the name of the
    // trap came first, since then "Oops: "; the names are those of arch/x86/kernel/traps.c.
    console_sign{"Oops: ", "", reason::oops},
    console_sign{"general protection fault", " [#", reason::oops},  // exc_general_protection()
    console_sign{"segment-related general protection fault", " [#", reason::oops},
    console_sign{"invalid opcode: ", " [#", reason::oops},       // handle_invalid_op()
    console_sign{"divide error: ", " [#", reason::oops},         // exc_divide_error()
    console_sign{"overflow: ", " [#", reason::oops},             // exc_overflow()
    console_sign{"bounds: ", " [#", reason::oops},               // exc_bounds()
    console_sign{"int3: ", " [#", reason::oops},                 // exc_int3()
    console_sign{"stack segment: ", " [#", reason::oops},        // exc_stack_segment()
    console_sign{"segment not present: ", " [#", reason::oops},  // exc_segment_not_present()
    console_sign{"invalid TSS: ", " [#", reason::oops},          // exc_invalid_tss()
    console_sign{"double fault: ", " [#", reason::oops},         // exc_double_fault()
    console_sign{"stack guard page: ", " [#", reason::oops},     // handle_stack_overflow()
    console_sign{"BUG: ", " stack guard page was hit at", reason::oops},  // handle_stack_overflow()
    // arch/x86/mm/fault.c show_fault_oops()
    console_sign{"BUG: kernel NULL pointer dereference", "", reason::oops},
    console_sign{"BUG: unable to handle", "", reason::oops},
    console_sign{"Unable to handle kernel ", "",
                 reason::oops},  // arch/arm64/mm/fault.c die_kernel_fault()
    console_sign{"Internal error: ", " [#", reason::oops},     // arch/arm64/kernel/traps.c __die()
    console_sign{"Oops[#", "", reason::oops},                  // arch/mips, arch/loongarch die()
    console_sign{"kernel BUG at ", "", reason::oops},          // lib/bug.c __report_bug()
    console_sign{"Fixing recursive fault", "", reason::oops},  // kernel/exit.c make_task_dead()
    // The scheduler's own checks.
    console_sign{"BUG: scheduling while atomic: ", "",
                 reason::oops},  // kernel/sched/core.c __schedule_bug()
    // kernel/sched/core.c schedule_debug(), __might_resched(), __cant_sleep(), __cant_migrate()
    console_sign{"BUG: scheduling in a non-blocking section: ", "", reason::oops},
    console_sign{"BUG: sleeping function called from invalid context", "", reason::oops},
    console_sign{"BUG: assuming atomic context", "", reason::oops},
    console_sign{"BUG: assuming non migratable context", "", reason::oops},
    console_sign{"corrupted preempt_count: ", "",
                 reason::oops},  // kernel/sched/core.c finish_task_switch()
    console_sign{"BUG: using ", " in preemptible ", reason::oops},  // lib/smp_processor_id.c
    console_sign{"BUG: workqueue leaked ", "",
                 reason::oops},  // kernel/workqueue.c process_one_work()
    console_sign{"softirq: huh, entered softirq", "",
                 reason::oops},  // kernel/softirq.c handle_softirqs()
    // Locks. kernel/locking/spinlock_debug.c spin_dump(), rwlock_bug(); rtmutex.c rt_mutex_handle_deadlock()
    console_sign{"BUG: spinlock ", " on CPU#", reason::oops},
    console_sign{"BUG: rwlock ", " on CPU#", reason::oops},
    console_sign{"rtmutex deadlock detected", "", reason::oops},
    // Lockdep, kernel/locking/lockdep.c: print_circular_bug_header(), print_deadlock_bug(),
    // print_bad_irq_dependency(), print_usage_bug(), print_irq_inversion_bug(),
    // print_lock_invalid_wait_context(), print_lock_nested_lock_not_held(), print_unlock_imbalance_bug(),
    // print_lock_contention_bug(), print_freed_lock_bug(), print_held_locks_bug(), lockdep_sys_exit(),
    // lockdep_rcu_suspicious(), assign_lock_key(). Each stands between two rules of "=" or "-".
    console_sign{"WARNING: possible circular locking dependency detected", "", reason::oops},
    console_sign{"WARNING: possible recursive locking detected", "", reason::oops},
    console_sign{"WARNING: ", "-unsafe lock order detected", reason::oops},
    console_sign{"WARNING: inconsistent lock state", "", reason::oops},
    console_sign{"WARNING: possible irq lock inversion dependency detected", "", reason::oops},
    console_sign{"[ BUG: Invalid wait context ]", "", reason::oops},
    console_sign{"WARNING: Nested lock was not taken", "", reason::oops},
    console_sign{"WARNING: bad unlock balance detected!", "", reason::oops},
    console_sign{"WARNING: bad contention detected!", "", reason::oops},
    console_sign{"WARNING: held lock freed!", "", reason::oops},
    console_sign{"WARNING: ", " still has locks held!", reason::oops},
    console_sign{"WARNING: lock held when returning to user space!", "", reason::oops},
    console_sign{"WARNING: suspicious RCU usage", "", reason::oops},
    console_sign{"INFO: trying to register non-static key.", "", reason::oops},
    // Memory and data.
    console_sign{"BUG: KASAN: ", "", reason::oops},  // mm/kasan/report.c print_error_description()
    console_sign{"KASAN: ", " in range [", reason::oops},  // kasan_non_canonical_hook()
    console_sign{"BUG: KCSAN: ", "", reason::oops},        // kernel/kcsan/report.c print_report()
    console_sign{"BUG: KMSAN: ", "", reason::oops},        // mm/kmsan/report.c kmsan_report()
    console_sign{"BUG: KFENCE: ", "", reason::oops},  // mm/kfence/report.c kfence_report_error()
    console_sign{"UBSAN: ", " in ", reason::oops},    // lib/ubsan.c ubsan_prologue()
    // lib/list_debug.c __list_add_valid_or_report(), __list_del_entry_valid_or_report()
    console_sign{"list_add corruption", "", reason::oops},
    console_sign{"list_add double add", "", reason::oops},
    console_sign{"list_del corruption", "", reason::oops},
    console_sign{"refcount_t: ", "", reason::oops},  // lib/refcount.c refcount_warn_saturate()
    console_sign{"ODEBUG: ", " (active state ",
                 reason::oops},  // lib/debugobjects.c debug_print_object()
    console_sign{"BUG: Bad page ", "",
                 reason::oops},  // mm/page_alloc.c bad_page(), mm/memory.c, mm/filemap.c
    console_sign{"BUG: Bad rss-counter state", "", reason::oops},  // kernel/fork.c check_mm()
    console_sign{"BUG ", "): ", reason::oops},  // mm/slub.c slab_bug(), with the cache's name
    // No progress. kernel/watchdog.c watchdog_timer_fn(); its prefix is newer than 4.18
    console_sign{"watchdog: BUG: soft lockup", "", reason::lockup},
    console_sign{"BUG: soft lockup", "", reason::lockup},
    // kernel/watchdog.c watchdog_hardlockup_check(), kernel/watchdog_hld.c before 6.5, "CPU%u: " in 7.3
    console_sign{"watchdog: ", "Watchdog detected hard LOCKUP", reason::lockup},
    console_sign{"NMI watchdog: ", "Watchdog detected hard LOCKUP", reason::lockup},
    console_sign{"BUG: workqueue lockup", "",
                 reason::lockup},  // kernel/workqueue.c wq_watchdog_timer_fn()
    // kernel/hung_task.c check_hung_task(); 7.3 may say "in I/O wait" between
    console_sign{"INFO: task ", " for more than ", reason::lockup},
    // kernel/rcu/tree_stall.h print_other_cpu_stall(), print_cpu_stall(); tree_exp.h
    // synchronize_rcu_expedited_wait()
    console_sign{"rcu: INFO: rcu_", "detected ", reason::lockup},
    // The same before 4.20; kernel/rcu/tasks.h check_holdout_task(), show_stalled_task_trace()
    console_sign{"INFO: rcu_", "detected ", reason::lockup},
    // kernel/rcu/tree_stall.h rcu_check_gp_kthread_starvation(), rcu_check_gp_kthread_expired_fqs_timer()
    console_sign{"rcu: rcu_", " kthread starved for ", reason::lockup},
    console_sign{"rcu: rcu_", " kthread timer wakeup didn't happen for ", reason::lockup},
    console_sign{"csd: ", " non-responsive CSD lock ",
                 reason::lockup},  // kernel/smp.c csd_lock_wait_toolong()
};

namespace detail {

/// Takes a time stamp, "[    2.274947] ", off the front of a text. Says whether one was there.
[[nodiscard]] inline bool take_time_stamp(std::string_view& text) {
    std::size_t at = text.starts_with('[') ? 1 : text.size();
    const auto digits = [&] {
        const auto from = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9')
            ++at;
        return at > from;
    };
    while (at < text.size() && text[at] == ' ')
        ++at;
    if (!digits() || at >= text.size() || text[at] != '.')
        return false;
    ++at;
    if (!digits() || at >= text.size() || text[at] != ']')
        return false;
    text.remove_prefix(at + 1);
    if (text.starts_with(' '))
        text.remove_prefix(1);
    return true;
}

/// With CONFIG_PRINTK_CALLER: "[    T1] " or "[    C0] ".
inline void drop_caller(std::string_view& message) {
    const auto at = message.find_first_not_of(' ', 1);
    const auto end = message.find("] ");
    if (message.starts_with('[') && end != std::string_view::npos && at < end &&
        (message[at] == 'T' || message[at] == 'C') &&
        message.substr(at + 1, end - at - 1).find_first_not_of("0123456789") ==
            std::string_view::npos)
        message.remove_prefix(end + 2);
}

/// Calls `on` with each of the kernel's messages in a console line. A message begins behind a time stamp;
/// what stands before the first is not the kernel's, and more than one are there when somebody else (a
/// program with /dev/console open, another CPU in a panic) left the line unended.
template <class On>
void each_message(std::string_view line, const On& on) {
    for (auto at = line.find('['); at != std::string_view::npos; at = line.find('[', at + 1)) {
        auto message = line.substr(at);
        if (!take_time_stamp(message))
            continue;
        drop_caller(message);
        on(message);
    }
}

[[nodiscard]] constexpr int rank(reason r) {
    return r == reason::panic ? 3 : r == reason::oops ? 2 : 1;
}

}  // namespace detail

/// What a console line says about the kernel's health, if anything: the worst of it. The line need not
/// be whole.
[[nodiscard]] inline std::optional<reason> sign_of(std::string_view line) {
    std::optional<reason> worst;
    detail::each_message(line, [&worst](std::string_view message) {
        for (const auto& sign : console_signs)
            if (message.starts_with(sign.begins) &&
                message.find(sign.later, sign.begins.size()) != std::string_view::npos) {
                if (!worst || detail::rank(sign.reason) > detail::rank(*worst))
                    worst = sign.reason;
                return;
            }
    });
    return worst;
}

/// Whether a line is the kernel's WARN(): something that should not be, and no verdict. kernel/panic.c
/// __warn(): "WARNING: CPU: 0 PID: 7 at FILE:LINE", in 7.3 "WARNING: FILE:LINE at FUNCTION, CPU#0: ...".
[[nodiscard]] inline bool is_warning(std::string_view line) {
    bool found = false;
    detail::each_message(line, [&found](std::string_view message) {
        found = found || (message.starts_with("WARNING: ") &&
                          message.find(" at ") != std::string_view::npos &&
                          message.find("CPU") != std::string_view::npos);
    });
    return found;
}

/// Whether a line begins the oops for a trap instruction in the kernel's code. It puts such ones there for
/// a moment whenever it changes its own code (a static branch, a call), and answers each of them.
[[nodiscard]] inline bool is_unanswered_trap(std::string_view line) {
    bool found = false;
    detail::each_message(line, [&found](std::string_view message) {
        if (message.starts_with("Oops: "))
            message.remove_prefix(std::string_view("Oops: ").size());
        found = found || (message.starts_with("int3: ") && message.find(" [#1]") != message.npos);
    });
    return found;
}

/// Of an oops's line "Code: 0f <1f> 44 ...", where the byte in brackets is the one behind the trap: whether the
/// byte before it is a trap instruction. Nothing: it is no such line.
[[nodiscard]] inline std::optional<bool> trap_is_there(std::string_view line) {
    std::optional<bool> there;
    detail::each_message(line, [&there](std::string_view message) {
        const auto at = message.find(" <");
        if (!there && message.starts_with("Code: ") && at != message.npos && at >= 8)
            there = message.substr(at - 2, 2) == "cc";
    });
    return there;
}

class console_watch {
public:
    /// Most of a console that is kept; what comes later is counted. A guest may print without end.
    static constexpr std::size_t limit = std::size_t{16} << 20;

    void feed(std::string_view bytes) {
        const auto room = limit - text_.size();
        text_.append(bytes.substr(0, room));
        dropped_ += bytes.size() > room ? bytes.size() - room : 0;
        for (const char c : bytes) {
            if (c == '\n') {
                end_line();
            } else if (c != '\r') {
                // Of a line that never ends, the end is kept: the kernel's words may be in it.
                if (line_.size() == longest_line) {
                    look();
                    line_.erase(0, longest_line / 2);
                }
                line_ += c;
            }
        }
        // A machine that dies does not end its line.
        look();
    }

    /// The worst thing the kernel has said so far: a panic over an oops over a lockup.
    [[nodiscard]] std::optional<reason> sign() const noexcept { return sign_; }
    /// The line that said it.
    [[nodiscard]] const std::string& sign_line() const noexcept { return sign_line_; }
    /// The first line in which it only warned.
    [[nodiscard]] const std::string& warning_line() const noexcept { return warning_line_; }
    /// The first thing that it said is an oops for a trap instruction where, as it sees itself, none is: the CPU has
    /// executed code that the kernel had replaced before. A real CPU does not; QEMU's emulation with several
    /// threads does, once in some hundred changes of the code on a busy host.
    [[nodiscard]] bool ran_replaced_code() const noexcept { return replaced_code_; }
    /// What the guest's harness said about itself, last sentence.
    [[nodiscard]] const std::string& harness_line() const noexcept { return harness_line_; }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] std::size_t dropped() const noexcept { return dropped_; }

    /// The last `count` lines.
    [[nodiscard]] std::vector<std::string> tail(std::size_t count) const {
        std::vector<std::string> lines;
        std::size_t end = text_.size();
        while (end > 0 && lines.size() < count) {
            if (text_[end - 1] == '\n')
                --end;
            const auto newline = end == 0 ? std::string::npos : text_.rfind('\n', end - 1);
            const auto begin = newline == std::string::npos ? 0 : newline + 1;
            auto line = text_.substr(begin, end - begin);
            while (!line.empty() && line.back() == '\r')
                line.pop_back();
            lines.insert(lines.begin(), std::move(line));
            end = begin;
        }
        return lines;
    }

private:
    static constexpr std::size_t longest_line = 1024;

    void look() {
        const auto found = sign_of(line_);
        if (!found)
            return;
        if (!sign_ || detail::rank(*found) > detail::rank(*sign_)) {
            sign_ = found;
            signed_now_ = true;
        }
        if (signed_now_)
            sign_line_ = line_;  // and again when there is more of it
    }

    void end_line() {
        look();
        signed_now_ = false;
        if (std::exchange(signed_before_, sign_.has_value()) != sign_.has_value())
            trapped_ = is_unanswered_trap(line_);
        if (trapped_)
            if (const auto there = trap_is_there(line_)) {
                replaced_code_ = !*there;
                trapped_ = false;
            }
        if (warning_line_.empty() && is_warning(line_))
            warning_line_ = line_;
        constexpr std::string_view harness = "ktstr-guest: ";
        if (const auto at = line_.find(harness); at != std::string::npos)
            harness_line_ = line_.substr(at + harness.size());
        line_.clear();
    }

    std::string text_;
    std::string line_;
    std::optional<reason> sign_;
    std::string sign_line_;
    bool signed_now_ = false;     ///< the sign is in the line that is being read
    bool signed_before_ = false;  ///< it was in a line before
    bool trapped_ =
        false;  ///< the first sign is an unanswered trap, and its code is to be shown yet
    bool replaced_code_ = false;
    std::string warning_line_;
    std::string harness_line_;
    std::size_t dropped_ = 0;
};

}  // namespace ktstr::host
