// SPDX-License-Identifier: MIT
// One command in a machine: boots it, starts the command, passes bytes both ways, ends with its wait
// status. --shell gives it a terminal; a nested run reads events from it. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/run/calibration.hpp>
#include <ktstr/host/run/running_machine.hpp>
#include <ktstr/host/run/session_limits.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>
#include <unistd.h>

namespace ktstr::host {

class machine_command {
public:
    struct callbacks {
        std::function<void(wire::stream, std::string_view)> output;
        std::function<void()> started = {};
        int input_fd = -1;  ///< where its standard input comes from; -1: none
        std::function<std::optional<wire::window_size>()> resized = {};  ///< asked every second
    };

    machine_command(machine_request request, wire::run_command command,
                    std::uint64_t calibration_ns, int stop_fd)
        : request_(std::move(request)),
          command_(std::move(command)),
          calibration_ns_(calibration_ns),
          stop_fd_(stop_fd) {}

    /// Runs to the command's end and returns its wait status. An error is a machine that failed;
    /// its console is console().
    [[nodiscard]] result<int> run(const callbacks& call) {
        auto started = running_machine::start(request_, command_line_);
        if (!started)
            return std::move(started).error();
        vm_ = std::move(*started);
        if (auto going = vm_->go(); !going)
            return std::move(going).error();
        input_fd_ = call.input_fd;
        deadline_ =
            clock::now() + boot_limit(request_.machine.accel,
                                      request_.machine.topology.total_cpus(), request_.slowdown);
        while (!status_ && !failure_)
            turn(call);
        vm_->end(status_.has_value());
        if (failure_)
            return *std::move(failure_);
        return *status_;
    }

    [[nodiscard]] std::string console() const {
        return vm_ ? vm_->console().text() : std::string{};
    }
    [[nodiscard]] const std::string& command_line() const noexcept { return command_line_; }
    [[nodiscard]] double dilation() const noexcept { return dilation_; }

private:
    using clock = std::chrono::steady_clock;

    void turn(const callbacks& call) {
        auto& link = vm_->link();
        std::array<pollfd, 7> fds{
            {{link.fd(), POLLIN, 0},
             {vm_->console_fd(), POLLIN, 0},
             {vm_->errors_fd(), POLLIN, 0},
             {vm_->process().pidfd(), POLLIN, 0},
             {stop_fd_, POLLIN, 0},
             {running_ ? input_fd_ : -1, POLLIN, 0},
             {link.device().running() ? link.device().pidfd() : -1, POLLIN, 0}}};
        if (::poll(fds.data(), fds.size(), 1000) < 0)
            return;
        vm_->read_console();
        vm_->read_errors();
        if (fds[0].revents != 0 && !read_link(call))
            return fail("the guest closed its link");
        if (status_ || failure_)
            return;
        if (fds[4].revents != 0)
            return fail("interrupted");
        if (fds[3].revents != 0)
            return fail("it ended" +
                        std::string(vm_->console().sign_line().empty()
                                        ? vm_->errors().empty() ? "" : ": " + vm_->errors()
                                        : ": " + vm_->console().sign_line()));
        if (fds[6].revents != 0)
            return fail("vhost-device-vsock ended");
        if (!vm_->kvm_last_words().empty())
            return fail("KVM died under the guest: " + vm_->kvm_last_words());
        if (fds[5].revents != 0)
            pass_input();
        if (running_ && call.resized)
            if (const auto size = call.resized())
                link.send(*size);
        check_clock();
    }

    /// The harness in the machine must answer, however busy the machine is; the command itself may
    /// take as long as it likes.
    void check_clock() {
        const auto now = clock::now();
        if (now >= deadline_)
            return fail(running_ ? "it has stopped answering" : "it did not come up in time");
        if (running_ && now >= next_ping_) {
            vm_->link().send(wire::ping{++token_});
            next_ping_ = now + std::chrono::seconds(5);
        }
    }

    bool read_link(const callbacks& call) {
        auto& link = vm_->link();
        if (!link.receive())
            return false;
        while (auto f = link.next()) {
            switch (f->type) {
                case wire::message_type::hello:
                    on(wire::decode<wire::hello>(f->payload), call);
                    break;
                case wire::message_type::output:
                    if (auto out = wire::decode<wire::output>(f->payload))
                        call.output(out->stream, out->bytes);
                    break;
                case wire::message_type::log:
                    if (auto log = wire::decode<wire::log>(f->payload))
                        call.output(wire::stream::err, log->text + '\n');
                    break;
                case wire::message_type::pong:
                    deadline_ = clock::now() + patience();
                    break;
                case wire::message_type::exited:
                    if (auto end = wire::decode<wire::exited>(f->payload))
                        status_ = end->wait_status;
                    break;
                default:
                    break;
            }
        }
        if (!link.fault().empty())
            fail("it sent " + link.fault());
        return true;
    }

    void on(const std::optional<wire::hello>& hello, const callbacks& call) {
        if (!hello || running_ || hello->version != wire::protocol_version)
            return fail("its hello is malformed, out of turn, or of another version");
        dilation_ = dilation_of(hello->calibration_ns, calibration_ns_);
        vm_->link().send(wire::welcome{.wall_clock_ns = wall_clock_ns()});
        vm_->link().send(command_);
        running_ = true;
        deadline_ = clock::now() + patience();
        next_ping_ = clock::now() + std::chrono::seconds(5);
        if (call.started)
            call.started();
    }

    void pass_input() {
        char chunk[wire::output_chunk];
        const auto n = ::read(input_fd_, chunk, sizeof chunk);
        vm_->link().send(wire::input{std::string(chunk, n > 0 ? static_cast<std::size_t>(n) : 0)});
        if (n <= 0)
            input_fd_ = -1;
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
    clock::time_point deadline_{}, next_ping_{};
    double dilation_ = 1;
    std::uint64_t token_ = 0;
    int input_fd_ = -1;
    bool running_ = false;
};

}  // namespace ktstr::host
