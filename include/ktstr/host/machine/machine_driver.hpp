// SPDX-License-Identifier: MIT
// Waits for everything that can come from a running machine, or from the keeper of a host_only body,
// and tells its pilot and all observers what it was: the one poll loop of the host's side, for every source of
// machines. Nothing in it waits for anything but its own poll(). Decides nothing. Host side.
#pragma once

#include <ktstr/host/cli/fault.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/machine/machine_observer.hpp>
#include <ktstr/host/machine/running_machine.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/wire/frame.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <poll.h>

namespace ktstr::host {

/// Who decides what becomes of a machine. Hears what happens in the order in which it is to be believed:
/// the process's end comes after all that it left in its link and on its console.
class machine_pilot {
public:
    using clock = std::chrono::steady_clock;

    machine_pilot() = default;
    machine_pilot(const machine_pilot&) = delete;
    machine_pilot& operator=(const machine_pilot&) = delete;
    virtual ~machine_pilot() = default;

    /// Nothing more is told once there is nothing more to wait for.
    [[nodiscard]] virtual bool done() const = 0;
    /// When tick() is due at the latest.
    [[nodiscard]] virtual clock::time_point wake() const = 0;
    /// After everything else that a wait brought.
    virtual void tick() = 0;

    virtual void frame(const wire::frame& f) = 0;
    virtual void link_broken(const std::string& what) = 0;
    /// By the guest; `why` may be empty. Its process may live on.
    virtual void link_closed(const std::string& why) = 0;
    virtual void console() {}
    virtual void kvm_died() = 0;
    virtual void ended(std::optional<int> status) = 0;
    virtual void device_ended() = 0;
    virtual void stopped() = 0;
    /// The descriptor given to watch() is readable.
    virtual void input() {}
};

class machine_driver {
public:
    enum class moment : std::uint8_t { boot, body, save };

    machine_driver(running_machine& vm, int stop_fd)
        : vm_(&vm), link_(vm.link()), process_(vm.process()), stop_fd_(stop_fd) {}
    machine_driver(host_link& link, child& process, int stop_fd)
        : link_(link), process_(process), stop_fd_(stop_fd) {}

    void run(machine_pilot& to) {
        while (!to.done())
            turn(to);
    }

    /// Tells this one too from now on, and first that the machine has started. It outlives the driver.
    void observe(machine_observer& looks_on) {
        observers_.push_back(&looks_on);
        looks_on.started({.process = process_.pid(),
                          .vcpus = vm_ != nullptr ? vm_->vcpus() : std::vector<vcpu_thread>{}});
    }

    /// The pilot's word that the guest has reached a stage.
    void entered(wire::guest_stage stage) {
        for (auto* const one : observers_)
            one->stage(stage);
    }

    /// Waits for this descriptor too, while the guest takes what is sent; -1: for none.
    void watch(int input_fd) { input_fd_ = input_fd; }

    /// Test-only: what goes wrong as soon as the guest runs, or its body, or as it is saved.
    void disturb(const injected_faults& faults, std::string_view test, moment when) {
        if (vm_ == nullptr)
            return;
        const auto strikes = [&](fault at_boot, fault in_body, fault at_save) {
            return faults.has(when == moment::boot   ? at_boot
                              : when == moment::body ? in_body
                                                     : at_save,
                              test);
        };
        if (process_.running() &&
            strikes(fault::kill_qemu_at_boot, fault::kill_qemu_in_body, fault::kill_qemu_at_save))
            ::kill(process_.pid(), SIGKILL);
        if (when == moment::save) {
            if (process_.running() && faults.has(fault::freeze_qemu_at_save, test))
                ::kill(process_.pid(), SIGSTOP);
            return;
        }
        if (faults.has(
                when == moment::body ? fault::freeze_guest_in_body : fault::freeze_guest_at_boot,
                test))
            (void)vm_->qmp().ask("stop");
        if (when == moment::body && faults.has(fault::cut_link_in_body, test))
            link_.cut();
        if (when == moment::body && link_.device().running() &&
            faults.has(fault::freeze_device_in_body, test))
            ::kill(link_.device().pid(), SIGSTOP);
    }

private:
    using clock = machine_pilot::clock;

    void turn(machine_pilot& to) {
        std::array<pollfd, 7> fds{};
        std::size_t count = 0;
        const auto watch = [&](int fd, short events = POLLIN) {
            fds[count] = {fd, events, 0};
            return count++;
        };
        const auto on_link = watch(closed_ ? -1 : link_.fd(), link_.events());
        const auto on_console = watch(vm_ != nullptr ? vm_->console_fd() : -1);
        const auto on_errors = watch(vm_ != nullptr ? vm_->errors_fd() : -1);
        const auto on_end = watch(ended_ ? -1 : process_.pidfd());
        const auto on_stop = watch(stop_fd_);
        const auto on_device = watch(link_.device().running() ? link_.device().pidfd() : -1);
        // A guest that takes nothing gets nothing more to take.
        const auto on_input = watch(link_.unsent() < enough_unsent ? input_fd_ : -1);

        // At most a minute at a time, because nobody may have a wish at all.
        auto until = std::min(to.wake(), clock::now() + std::chrono::minutes(1));
        for (const auto* const one : observers_)
            until = std::min(until, one->wake());
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
        if (::poll(fds.data(), count, static_cast<int>(std::max<long>(wait.count(), 0))) < 0)
            return;
        const auto ready = [&](std::size_t i) { return fds[i].revents != 0; };
        if (ready(on_console))
            read_console(to);
        if (ready(on_errors))
            vm_->read_errors();
        if (ready(on_link))
            for (int i = 0; i < reads_at_once && read_link(to); ++i) {
            }
        if (!to.done() && ready(on_stop))
            to.stopped();
        if (!to.done() && ready(on_end))
            end(to);
        if (!to.done() && ready(on_device))
            to.device_ended();
        if (!to.done() && vm_ != nullptr && !vm_->kvm_last_words().empty())
            to.kvm_died();
        if (!to.done() && ready(on_input))
            to.input();
        for (auto* const one : observers_)
            one->tick(clock::now());
        if (!to.done())
            to.tick();
    }

    void read_console(machine_pilot& to) {
        vm_->read_console();
        lines_.tell(vm_->console().text(), observers_);
        to.console();
    }

    /// False when there is nothing more to read now.
    bool read_link(machine_pilot& to) {
        if (closed_ || to.done())
            return false;
        switch (link_.receive()) {
            case link_news::nothing:
                return false;
            case link_news::closed:
                if (vm_ != nullptr && !ended_ && vm_->call_again())
                    return false;
                closed_ = true;
                to.link_closed(link_.closed_because());
                return false;
            case link_news::bytes:
                break;
        }
        while (!to.done()) {
            const auto f = link_.next();
            if (!f)
                break;
            for (auto* const one : observers_)
                one->frame(*f);
            to.frame(*f);
        }
        if (!to.done() && !link_.fault().empty())
            to.link_broken(link_.fault());
        return true;
    }

    void end(machine_pilot& to) {
        const auto status = process_.try_wait();
        ended_ = true;
        while (read_link(to)) {
        }
        if (vm_ != nullptr) {
            read_console(to);
            vm_->read_errors();
        }
        for (auto* const one : observers_)
            one->ended(status);
        if (!to.done())
            to.ended(status);
    }

    /// Reads of a link before everything else gets its turn.
    static constexpr int reads_at_once = 16;
    static constexpr std::size_t enough_unsent = std::size_t{64} << 10;

    running_machine* vm_ = nullptr;
    host_link& link_;
    child& process_;
    int stop_fd_;
    std::vector<machine_observer*> observers_;
    console_lines lines_;
    int input_fd_ = -1;
    bool closed_ = false;
    bool ended_ = false;
};

}  // namespace ktstr::host
