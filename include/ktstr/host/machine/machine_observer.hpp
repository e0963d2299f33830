// SPDX-License-Identifier: MIT
// Who looks on while a machine runs, and changes nothing about how it runs: witnesses, samplers, recorders. The
// driver tells all of them the same; the one who decides is the machine's pilot, see machine_driver.hpp. Host side.
#pragma once

#include <ktstr/host/vm/qmp.hpp>
#include <ktstr/wire/frame.hpp>
#include <ktstr/wire/message.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace ktstr::host {

class machine_observer {
public:
    using clock = std::chrono::steady_clock;
    struct start {
        pid_t process = -1;  ///< QEMU's
        std::vector<vcpu_thread> vcpus;
    };

    machine_observer() = default;
    machine_observer(const machine_observer&) = delete;
    machine_observer& operator=(const machine_observer&) = delete;
    virtual ~machine_observer() = default;

    /// The guest runs.
    virtual void started(const start&) {}
    /// The guest has reached it, as far as the pilot believes it.
    virtual void stage(wire::guest_stage) {}
    /// Before the pilot hears of it. From a guest, so untrusted.
    virtual void frame(const wire::frame&) {}
    /// A whole line of the guest's console, without its end.
    virtual void console_line(std::string_view) {}
    /// When tick() is due at the latest. Nothing else wakes the driver for an observer.
    [[nodiscard]] virtual clock::time_point wake() const { return clock::time_point::max(); }
    /// After everything else that a wait brought.
    virtual void tick(clock::time_point) {}
    /// Its process did, after all that it left on its console and in its link.
    virtual void ended(std::optional<int> /*wait_status*/) {}
};

/// Which lines of a console that grows the observers have heard of.
class console_lines {
public:
    void tell(std::string_view text, const std::vector<machine_observer*>& observers) {
        for (auto end = text.find('\n', told_); end != std::string_view::npos;
             end = text.find('\n', told_)) {
            auto line = text.substr(told_, end - told_);
            while (line.ends_with('\r'))
                line.remove_suffix(1);
            for (auto* const one : observers)
                one->console_line(line);
            told_ = end + 1;
        }
    }

private:
    std::size_t told_ = 0;  ///< bytes
};

}  // namespace ktstr::host
