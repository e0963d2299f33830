// SPDX-License-Identifier: MIT
// One command in a machine: boots it, starts the command, passes bytes both ways, ends with its wait
// status. --shell gives it a terminal; a nested run reads events from it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/machine/boot_limit.hpp>
#include <ktstr/host/machine/calibration.hpp>
#include <ktstr/host/machine/machine_driver.hpp>
#include <ktstr/host/machine/running_machine.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

namespace ktstr::host {

class machine_command final : machine_pilot {
public:
    struct callbacks {
        std::function<void(wire::stream, std::string_view)> output;
        std::function<void()> started = {};
        int input_fd = -1;  ///< where its standard input comes from; -1: none
        std::function<std::optional<wire::window_size>()> resized = {};  ///< asked every second
        /// A machine whose kernel complains is not believed: it ends, and that is an error.
        bool kernel_must_be_well = false;
        /// How long the command may go without progress(), in a machine so many times slower than this
        /// host; empty: for ever.
        std::function<std::chrono::milliseconds(double dilation)> patience = {};
    };

    machine_command(machine_request request, wire::run_command command,
                    std::uint64_t calibration_ns, int stop_fd)
        : request_(std::move(request)),
          command_(std::move(command)),
          calibration_ns_(calibration_ns),
          stop_fd_(stop_fd) {}

    /// Runs to the command's end and returns its wait status. An error is a machine that failed;
    /// its console is console_text().
    [[nodiscard]] result<int> run(const callbacks& call) {
        auto started = running_machine::start(request_, command_line_);
        if (!started)
            return std::move(started).error();
        vm_ = std::move(*started);
        if (auto going = vm_->go(); !going)
            return std::move(going).error();
        let_go_ = true;
        deadline_ =
            clock::now() + boot_limit(request_.machine.accel,
                                      request_.machine.topology.total_cpus(), request_.slowdown);
        call_ = &call;
        machine_driver driver(*vm_, stop_fd_);
        driver_ = &driver;
        driver.run(*this);
        vm_->end(status_.has_value());
        look_at_kernel();
        if (failure_)
            return *std::move(failure_);
        return *status_;
    }

    /// The command has got on with its work.
    void progress() {
        if (call_ != nullptr && call_->patience)
            stuck_at_ = clock::now() + call_->patience(dilation_);
    }
    /// Whether its kernel complained, and was to be well.
    [[nodiscard]] bool unwell() const noexcept { return unwell_; }

    [[nodiscard]] std::string console_text() const {
        return vm_ ? vm_->console().text() : std::string{};
    }
    /// Of a clone that did not come up: whether it ran, or QEMU had its state.
    [[nodiscard]] bool blames_template() const noexcept {
        return let_go_ || (vm_ && vm_->refused_state());
    }
    [[nodiscard]] const std::string& command_line() const noexcept { return command_line_; }
    [[nodiscard]] double dilation() const noexcept { return dilation_; }

private:
    [[nodiscard]] bool done() const override { return status_ || failure_; }
    [[nodiscard]] clock::time_point wake() const override {
        return std::min(deadline_, next_look_);
    }

    /// The harness in the machine must answer, however busy the machine is; the command itself may
    /// take as long as it likes.
    void tick() override {
        const auto now = clock::now();
        if (now >= deadline_)
            return fail(closed_    ? "it closed its link and did not end"
                        : running_ ? "it has stopped answering"
                                   : "it did not come up in time");
        if (now >= stuck_at_)
            return fail("nothing in it has come to an end in " +
                        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(
                                           call_->patience(dilation_))
                                           .count()) +
                        " s");
        if (!running_ || now < next_look_)
            return;
        next_look_ = now + std::chrono::seconds(1);
        if (call_->resized)
            if (const auto size = call_->resized())
                vm_->link().send(*size);
        if (now >= next_ping_) {
            vm_->link().send(wire::ping{++token_});
            next_ping_ = now + std::chrono::seconds(5);
        }
    }

    void frame(const wire::frame& f) override {
        switch (f.type) {
            case wire::message_type::hello:
                return on(wire::decode<wire::hello>(f.payload));
            case wire::message_type::output:
                if (auto out = wire::decode<wire::output>(f.payload))
                    call_->output(out->stream, out->bytes);
                break;
            case wire::message_type::log:
                if (auto log = wire::decode<wire::log>(f.payload))
                    call_->output(wire::stream::err, log->text + '\n');
                break;
            case wire::message_type::pong:
                deadline_ = clock::now() + patience();
                break;
            case wire::message_type::exited:
                if (auto end = wire::decode<wire::exited>(f.payload))
                    status_ = end->wait_status;
                break;
            default:
                break;
        }
    }

    void console() override { look_at_kernel(); }
    void look_at_kernel() {
        if (!call_->kernel_must_be_well || unwell_ || !vm_->console().sign())
            return;
        unwell_ = true;
        // What a command has come to in such a machine is not known.
        failure_.reset();
        fail("its kernel is not well: " + vm_->console().sign_line());
    }

    void link_broken(const std::string& what) override { fail("it sent " + what); }
    void link_closed(const std::string&) override {
        // The end of the process or the console's last words come next and say more.
        closed_ = true;
        deadline_ = std::min(deadline_, clock::now() + std::chrono::seconds(10));
    }
    void kvm_died() override { fail("KVM died under the guest: " + vm_->kvm_last_words()); }
    void ended(std::optional<int>) override {
        const auto words = vm_->last_words();
        fail(words.empty() ? "it ended" : "it ended: " + words);
    }
    void device_ended() override { fail("vhost-device-vsock ended"); }
    void stopped() override { fail("interrupted"); }

    void on(const std::optional<wire::hello>& hello) {
        if (!hello || running_ || hello->version != wire::protocol_version)
            return fail("its hello is malformed, out of turn, or of another version");
        dilation_ = dilation_of(hello->calibration_ns, calibration_ns_);
        vm_->link().send(wire::welcome{.wall_clock_ns = now_ns(CLOCK_REALTIME)}, command_);
        running_ = true;
        deadline_ = clock::now() + patience();
        next_look_ = clock::now() + std::chrono::seconds(1);
        next_ping_ = clock::now() + std::chrono::seconds(5);
        if (call_->started)
            call_->started();
        progress();
        driver_->watch(call_->input_fd);
    }

    void input() override {
        char chunk[wire::output_chunk];
        const auto n = ::read(call_->input_fd, chunk, sizeof chunk);
        vm_->link().send(wire::input{std::string(chunk, n > 0 ? static_cast<std::size_t>(n) : 0)});
        if (n <= 0)
            driver_->watch(-1);
    }

    [[nodiscard]] std::chrono::milliseconds patience() const {
        return std::chrono::milliseconds(
            static_cast<std::int64_t>(30'000 * std::max(dilation_, 2.0)));
    }

    void fail(std::string why) {
        if (!failure_)
            failure_ = plain_error("keep the machine of " + request_.name + " running", "",
                                   std::move(why));
    }

    machine_request request_;
    wire::run_command command_;
    std::uint64_t calibration_ns_;
    int stop_fd_;
    std::unique_ptr<running_machine> vm_;
    std::string command_line_;
    std::optional<int> status_;
    std::optional<error> failure_;
    const callbacks* call_ = nullptr;  // while run() lasts, as is the next
    machine_driver* driver_ = nullptr;
    clock::time_point deadline_{}, next_ping_{};
    clock::time_point next_look_ = clock::time_point::max();
    clock::time_point stuck_at_ = clock::time_point::max();
    double dilation_ = 1;
    std::uint64_t token_ = 0;
    bool let_go_ = false;
    bool running_ = false;
    bool unwell_ = false;
    bool closed_ = false;
};

}  // namespace ktstr::host
