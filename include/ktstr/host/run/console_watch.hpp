// SPDX-License-Identifier: MIT
// Reads a guest's console as it comes: keeps it, splits it into lines, and recognises the lines by
// which a kernel says that it died, oopsed or locked up. Host side.
#pragma once

#include <ktstr/check/verdict.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

/// How the kernel begins such a line, behind the time stamp. From kernel/panic.c, arch/x86/kernel/
/// dumpstack.c and traps.c, kernel/watchdog.c, kernel/rcu/tree_stall.h, kernel/hung_task.c.
struct console_sign {
    std::string_view text;
    ktstr::reason reason;
};
inline constexpr std::array console_signs{
    console_sign{"Kernel panic - not syncing", reason::panic},
    console_sign{"Oops: ", reason::oops},
    console_sign{"Oops[#", reason::oops},
    console_sign{"BUG: kernel NULL pointer dereference", reason::oops},
    console_sign{"BUG: unable to handle", reason::oops},
    console_sign{"kernel BUG at ", reason::oops},
    console_sign{"general protection fault", reason::oops},
    console_sign{"invalid opcode: ", reason::oops},
    console_sign{"watchdog: BUG: soft lockup", reason::lockup},
    console_sign{"watchdog: Watchdog detected hard LOCKUP", reason::lockup},
    console_sign{"watchdog: CPU", reason::lockup},
    console_sign{"NMI watchdog: Watchdog detected hard LOCKUP", reason::lockup},
    console_sign{"rcu: INFO: rcu_", reason::lockup},
    console_sign{"rcu: rcu_preempt kthread", reason::lockup},
    console_sign{"rcu: rcu_sched kthread", reason::lockup},
};

/// What a console line says about the kernel's health, if anything.
[[nodiscard]] inline std::optional<reason> sign_of(std::string_view line) {
    // "[    2.274947] text", and with CONFIG_PRINTK_CALLER "[    2.274947][    T1] text".
    while (line.starts_with('[')) {
        const auto end = line.find(']');
        if (end == std::string_view::npos)
            break;
        line.remove_prefix(end + 1);
        if (line.starts_with(' '))
            line.remove_prefix(1);
    }
    for (const auto& sign : console_signs)
        if (line.starts_with(sign.text))
            return sign.reason;
    return std::nullopt;
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
            if (c == '\n')
                end_line();
            else if (c != '\r' && line_.size() < 512)
                line_ += c;
        }
    }

    /// The worst thing the kernel has said so far: a panic over an oops over a lockup.
    [[nodiscard]] std::optional<reason> sign() const noexcept { return sign_; }
    /// The line that said it.
    [[nodiscard]] const std::string& sign_line() const noexcept { return sign_line_; }
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
    static int rank(reason r) { return r == reason::panic ? 3 : r == reason::oops ? 2 : 1; }

    void end_line() {
        if (const auto found = sign_of(line_); found && (!sign_ || rank(*found) > rank(*sign_))) {
            sign_ = found;
            sign_line_ = line_;
        }
        constexpr std::string_view harness = "ktstr-guest: ";
        if (const auto at = line_.find(harness); at != std::string::npos)
            harness_line_ = line_.substr(at + harness.size());
        line_.clear();
    }

    std::string text_;
    std::string line_;
    std::optional<reason> sign_;
    std::string sign_line_;
    std::string harness_line_;
    std::size_t dropped_ = 0;
};

}  // namespace ktstr::host
