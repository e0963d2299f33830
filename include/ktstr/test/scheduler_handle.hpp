// SPDX-License-Identifier: MIT
// The scheduler under test as a body sees it: `ctx.scheduler()`. What it asks is answered by the agent,
// which started the scheduler and hears the kernel's events; so it may be called from any thread and
// from forked children. Light on purpose: the deeds behind it live in guest/.
#pragma once

#include <ktstr/base/duration.hpp>
#include <ktstr/base/result.hpp>
#include <ktstr/sched/exit_record.hpp>
#include <ktstr/sched/scheduler.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

namespace ktstr {

/// What is known of the scheduler that runs the machine.
struct scheduler_state {
    std::string state{};  ///< the kernel's word: "enabled", "disabled"; empty: it has no sched_ext
    std::string name{};   ///< of the BPF scheduler that is attached; empty: none is
    std::optional<int>
        pid{};  ///< of the process that the test's `scheduler` started, while it lives
    /// Whether only the tasks that ask for SCHED_EXT are the attached one's (SCX_OPS_SWITCH_PARTIAL); nothing
    /// when none is attached.
    std::optional<bool> partial{};
};

/// What a body asked of its scheduler and could not have.
class scheduler_error : public std::exception {
public:
    enum class cause : std::uint8_t {
        unreachable,     ///< the agent does not answer: nobody's failure
        attach,          ///< the scheduler could not be attached
        mistake_in_test  ///< there was nothing to do it with
    };

    scheduler_error(std::string message, cause why)
        : message_(static_cast<std::string&&>(message)), cause_(why) {}

    [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
    [[nodiscard]] cause why() const noexcept { return cause_; }

private:
    std::string message_;
    cause cause_;
};

/// What a body may want done to its scheduler.
enum class scheduler_deed : std::uint8_t { detach, attach, restart, replace, signal };

namespace detail {
// Defined on the guest's side (guest/body.hpp).
result<scheduler_state> ask_scheduler_state(std::chrono::milliseconds limit);
scheduler_state require_scheduler_state(std::chrono::milliseconds limit);
/// `staged`: the name of the one that it is done with; empty: the test's own. Returns what replace() does.
std::chrono::nanoseconds do_to_scheduler(scheduler_deed deed, int signal, std::string_view staged,
                                         std::chrono::milliseconds limit);
std::optional<scx_exit_record> wait_for_scheduler_exit(std::chrono::milliseconds limit,
                                                       std::chrono::milliseconds patience);
}  // namespace detail

/// A call that can't be carried out throws scheduler_error: one that the agent does not answer ends the
/// test as inconclusive, an attach that fails as `scheduler_attach`.
class scheduler_handle {
public:
    explicit scheduler_handle(double dilation) : dilation_(dilation) {}

    /// All of it at once; an error, not a wait and not a throw, when nobody answers.
    [[nodiscard]] result<scheduler_state> state() const {
        return detail::ask_scheduler_state(patience());
    }
    /// Whether a BPF scheduler runs the machine, by the kernel's word.
    [[nodiscard]] bool enabled() const {
        return detail::require_scheduler_state(patience()).state == "enabled";
    }
    /// The attached scheduler's name for itself; empty: none is.
    [[nodiscard]] std::string ops_name() const {
        return detail::require_scheduler_state(patience()).name;
    }

    /// Whether the attached scheduler leaves alone all tasks that do not ask for SCHED_EXT
    /// (SCX_OPS_SWITCH_PARTIAL): workers that set no such policy run under the kernel's own class then.
    [[nodiscard]] bool partial() const {
        return detail::require_scheduler_state(patience()).partial.value_or(false);
    }

    /// Asks the scheduler's process to end, first with SIGINT, and returns when the kernel has taken the
    /// scheduler off. That end is the test's own and no failure.
    void detach() const { deed(scheduler_deed::detach); }
    /// Starts the test's scheduler again, and returns when it is attached.
    void attach() const { deed(scheduler_deed::attach); }
    /// The same with one of the test's `staged` schedulers.
    void attach(const scheduler& staged) const { deed(scheduler_deed::attach, staged.name); }
    /// detach(), then the same one is attached again.
    void restart() const { deed(scheduler_deed::restart); }
    /// Puts one of the test's `staged` schedulers, or the test's own, in the place of the one that is attached. The
    /// newcomer is started, opened and loaded beside it and held at the door; only then the old one is taken off.
    /// The kernel takes one scheduler after the other, so between the two its own class runs everybody: that
    /// long, which is what is returned, and no longer. One that does not get as far leaves the old one attached.
    std::chrono::nanoseconds replace(const scheduler& staged) const {
        return deed(scheduler_deed::replace, staged.name);
    }
    /// Sends a signal to the scheduler's process; 9: kills it. What comes of that is for wait_exit().
    void kill(int signal = 9) const {
        detail::do_to_scheduler(scheduler_deed::signal, signal, {}, patience());
    }

    /// Waits until the scheduler has ended and says how, by the kernel's record; at once when it has ended
    /// already. Nothing: it has not in that time, which follows the machine's speed. An end that somebody
    /// waits for is the test's business and no failure; one that nobody asks for within a second is, also
    /// when the scheduler was attached again meanwhile. A limit beyond a day is a day.
    [[nodiscard]] std::optional<scx_exit_record> wait_exit(std::chrono::milliseconds limit) const {
        return detail::wait_for_scheduler_exit(scaled(limit), patience());
    }

private:
    std::chrono::nanoseconds deed(scheduler_deed what, std::string_view staged = {}) const {
        return detail::do_to_scheduler(what, 0, staged, scaled(std::chrono::milliseconds(60'000)));
    }
    [[nodiscard]] std::chrono::milliseconds scaled(std::chrono::milliseconds limit) const {
        constexpr double day = 86'400'000;
        const double ms = static_cast<double>(limit.count()) * dilation_;
        return std::chrono::milliseconds(static_cast<long>(ms < 0 ? 0 : ms > day ? day : ms));
    }
    [[nodiscard]] std::chrono::milliseconds patience() const {
        return scaled(std::chrono::milliseconds(5000));
    }

    double dilation_;
};

}  // namespace ktstr
