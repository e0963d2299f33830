// SPDX-License-Identifier: MIT
// One attempt at one test, carried out: starts the machine (or the keeper of a host_only body), passes
// what the driver sees to the attempt and does what that asks for, and writes down what judge() says.
// Whatever happens, the machine is gone when this returns. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/host/attempt/attempt.hpp>
#include <ktstr/host/attempt/judge.hpp>
#include <ktstr/host/attempt/scheduler_notes.hpp>
#include <ktstr/host/cell/cell.hpp>
#include <ktstr/host/cell/scheduler_order.hpp>
#include <ktstr/host/cli/fault.hpp>
#include <ktstr/host/initramfs/test_program.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/machine/boot_limit.hpp>
#include <ktstr/host/machine/machine_driver.hpp>
#include <ktstr/host/machine/next_machine.hpp>
#include <ktstr/host/machine/running_machine.hpp>
#include <ktstr/host/machine/steal_witness.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/process/stop_signal.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/line_tail.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/run/cell_event.hpp>
#include <ktstr/host/text/utf8.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/marked_processes.hpp>
#include <ktstr/wire/boot.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::host {

/// Everything an attempt needs to know.
struct session_request {
    host::cell cell;
    int attempt = 1;

    // A machine; absent for host_only.
    std::optional<host::machine> machine = {};
    std::filesystem::path qemu = {};
    link_facts links = {};
    std::string kernel_release = {};
    host::placement placement = {};

    std::filesystem::path clone_state = {};  ///< of the template, when the machine is a clone
    std::shared_ptr<unique_fd> clone_directory = {};
    std::uint64_t program_size = 0;          ///< of a clone, see wire::resume
    bool scheduler_attached = false;         ///< in the template, when the machine is a clone
    std::filesystem::path own_program = {};  ///< what the keeper of a host_only body is called
    std::filesystem::path private_dir = {};
    std::uint64_t host_calibration_ns = 1;
    double slowdown = 1;  ///< of the host itself, when it is an emulated machine
    int stop_fd = -1;
    injected_faults faults = {};
};

[[nodiscard]] inline machine_request machine_of(const session_request& request) {
    return {.machine = *request.machine,
            .qemu = request.qemu,
            .links = request.links,
            .private_dir = request.private_dir,
            .name = request.cell.name,
            .placement = request.placement,
            .state = request.clone_state,
            .directory = request.clone_directory,
            .program_size = request.program_size,
            .mount_files =
                !request.scheduler_attached &&
                (request.cell.scheduler->has_program() || request.cell.scheduler->files.size() > 0),
            .slowdown = request.slowdown,
            .frozen = request.faults.has(fault::freeze_qemu_at_start, request.cell.name)};
}

/// What is left of an attempt besides the event: the files for the artefacts.
struct session_remains {
    std::string console;
    std::string qemu_errors;
    std::string command_line;
    std::string output;
    std::string scheduler;  ///< how it ended, with the kernel's dump
    bool interrupted = false;
    bool kvm_died = false;
    bool said_hello = false;        ///< the guest came up
    bool blames_template = false;   ///< it did not, although it was let go or QEMU had its state
    bool attached = false;          ///< the scheduler, by the test itself
    bool lost_before_body = false;  ///< the one that the template had attached
};

struct session_result {
    test_finished event;
    session_remains remains;
};

class session final : machine_pilot {
public:
    session(const session_request& request, fan_out& events)
        : request_(request), events_(events), attempt_(order_of(request)) {}

    /// `prepared`: the machine, where it was started ahead of its turn. `meanwhile` is called once while
    /// the machine wakes up or boots, and never while a body runs.
    [[nodiscard]] session_result run(next_machine::started prepared = {},
                                     const std::function<void()>& meanwhile = {}) {
        begun_ = clock::now();
        auto& e = result_.event;
        describe(request_.cell, request_.attempt, e);
        if (request_.machine) {
            e.accel = std::string(to_text(request_.machine->accel));
            e.kernel = valid_utf8(request_.kernel_release);
            e.boot = request_.clone_state.empty() ? "cold" : "clone";
            if (request_.cell.scheduler->has_program())
                e.attach = request_.scheduler_attached ? "template" : "test";
        }
        events_(started_event(request_.cell, request_.attempt));
        if (auto started = request_.machine ? start_machine(std::move(prepared)) : start_keeper();
            !started && stop_signal::received() != 0)
            tell(happened::stopped{});
        else if (!started)
            tell(happened::not_begun{.words = started.error().message()});
        else if (meanwhile && !done())
            meanwhile();
        if (driver_) {
            driver_ran_ = true;
            driver_->run(*this);
        }
        if (vm_ && vm_->link().device().stands_still())
            stands_still_ = "vhost-device-vsock";
        else if (vm_ && vm_->process().stands_still())
            stands_still_ = "QEMU";
        end_machine();
        write_down();
        return std::move(result_);
    }

private:
    // ---- start --------------------------------------------------------------------------------

    [[nodiscard]] static attempt_order order_of(const session_request& request) {
        const auto& one = request.cell;
        const auto& spec = one.spec();
        attempt_order order{.name = one.name,
                            .number = request.attempt,
                            .has_machine = request.machine.has_value(),
                            .expect_fail = spec.expect_fail,
                            .body_limit = spec.body_limit(),
                            .boot_limit = std::chrono::seconds(60),
                            .host_calibration_ns = request.host_calibration_ns,
                            .cpus = one.topology.total_cpus()};
        if (const auto& m = request.machine) {
            order.emulated = m->accel == accelerator::tcg || m->on_emulated_host;
            order.boot_limit = request.faults.boot_limit(one.name).value_or(
                boot_limit(m->accel, m->topology.total_cpus(), request.slowdown));
        }
        auto& test = order.test;
        test.name = one.test->name;
        test.topology = request.faults.has(fault::wrong_topology, one.name)
                            ? "1n7l1c1t"
                            : std::string(ktstr::to_text(one.topology));
        test.seed = one.seed;
        test.duration_ms = static_cast<std::uint64_t>(spec.duration.count());
        // A clone's template has proved it.
        test.prove_topology = request.machine.has_value() && request.clone_state.empty();
        const int nodes = one.topology.num_numa_nodes();
        if (nodes > 1)
            for (int from = 0; from < nodes; ++from)
                for (int to = 0; to < nodes; ++to)
                    test.distances.push_back(
                        static_cast<std::uint32_t>(one.topology.distance(from, to)));
        if (one.has_machine()) {
            order.scheduler = one.scheduler->name;
            order.min_kernel = one.scheduler->min_kernel;
        }
        order_scheduler(one, test);
        test.attached = request.scheduler_attached;
        return order;
    }

    [[nodiscard]] result<void> start_machine(next_machine::started prepared) {
        stage("boot");
        if (prepared.vm) {
            vm_ = std::move(prepared.vm);
            result_.remains.command_line = std::move(prepared.command_line);
            if (auto placed = vm_->place(request_.placement); !placed)
                return placed;
        } else {
            auto started =
                running_machine::start(machine_of(request_), result_.remains.command_line);
            if (!started)
                return std::move(started).error();
            vm_ = std::move(*started);
        }
        result_.event.mask = vm_->placed().mask;
        for (const auto& note : vm_->placed().notes)
            result_.event.notes.push_back(note);
        if (request_.cell.spec().requires_steal && !vm_->has_steal_clock()) {
            tell(happened::not_begun{reason::requirement,
                                     "the test requires steal time, and QEMU gives this guest no "
                                     "steal clock"});
            return {};
        }
        if (auto going = vm_->go(); !going)
            return going;
        driver_.emplace(*vm_, request_.stop_fd);
        driver_->observe(waited_);
        driver_->disturb(request_.faults, request_.cell.name, machine_driver::moment::boot);
        tell(happened::let_go{});
        return {};
    }

    [[nodiscard]] result<void> start_keeper() {
        stage("start");
        int pair[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
            return system_error("make a socket pair for", "the body");
        unique_fd theirs(pair[1]);
        keeper_link_ = std::make_unique<host_link>(host_link::over(unique_fd(pair[0])));
        child_request start;
        start.program = running_program_path;  // its path may lead to another build now
        start.name = request_.own_program.string();
        start.arguments = {"--internal-body", std::to_string(theirs.get()), "--filter",
                           std::string(request_.cell.test->name)};
        start.inherited = {theirs.get()};
        start.standard_error = 2;
        // It outlives a runner that is killed by as much as it takes to end what the body has started.
        start.dies_with_us = false;
        std::uint64_t number[2] = {};
        if (::getrandom(number, sizeof number, 0) != sizeof number)
            return system_error("draw the mark of", "the body's processes");
        keeper_mark_ = std::string(wire::keeper_variable) + '=' + std::to_string(number[0]) + '-' +
                       std::to_string(number[1]);
        start.environment = {keeper_mark_};
        auto process = start_child(start);
        if (!process)
            return std::move(process).error();
        keeper_ = std::move(*process);
        driver_.emplace(*keeper_link_, keeper_, request_.stop_fd);
        tell(happened::let_go{});
        return {};
    }

    // ---- what the driver sees -----------------------------------------------------------------

    [[nodiscard]] bool done() const override { return attempt_.settled(); }
    [[nodiscard]] clock::time_point wake() const override { return wake_; }
    void tick() override { tell(happened::tick{}); }
    void frame(const wire::frame& f) override { tell(f); }
    void link_broken(const std::string& what) override { tell(happened::link_broken{what}); }
    void link_closed(const std::string& why) override { tell(happened::link_closed{why}); }
    void console() override {
        const auto& said = vm_->console();
        tell(happened::console{said.sign(), said.sign_line(), said.harness_line(),
                               said.ran_replaced_code()});
    }
    void kvm_died() override { tell(happened::kvm_died{vm_->kvm_last_words()}); }
    void ended(std::optional<int> status) override {
        happened::process_ended end{.status = status};
        if (vm_) {
            end.kvm_words = vm_->kvm_last_words();
            end.qemu_said = vm_->last_error();
            // Without a word on the console there was no guest yet: what QEMU says is the cause.
            if (vm_->console().text().empty())
                if (const auto why = vm_->refusal())
                    end.refusal = why->message();
        }
        tell(std::move(end));
    }
    void device_ended() override { tell(happened::device_ended{}); }
    void stopped() override { tell(happened::stopped{}); }

    /// Tells the attempt, and does what it says.
    void tell(const happened::anything& what) {
        const auto now = clock::now();
        const auto effects = attempt_.on(what, now);
        wake_ = effects.wake;
        for (const auto& message : effects.send)
            std::visit([this](const auto& m) { send(m); }, message);
        for (const auto& event : effects.publish)
            std::visit([this](const auto& e) { publish(e); }, event);
        if (effects.entered == wire::guest_stage::body) {
            result_.event.start_s = seconds_of(now - begun_);
            driver_->disturb(request_.faults, request_.cell.name, machine_driver::moment::body);
        }
        if (effects.entered)
            driver_->entered(*effects.entered);
    }

    void send(const wire::run_test& order) {
        // A clone has the time from its first word.
        const wire::welcome welcome{.wall_clock_ns =
                                        request_.clone_state.empty() ? now_ns(CLOCK_REALTIME) : 0};
        link().send(welcome, order);
    }
    void send(const wire::ping& ping) { link().send(ping); }

    void publish(const stage_changed& entered) { events_(entered); }
    void publish(const test_output& output) {
        result_.remains.output += output.bytes;
        output_tail_.feed(output.bytes);
        events_(output);
    }
    void publish(const check_failed& failed) {
        events_(failed);
        result_.event.failed_checks.push_back(failed);
    }
    void publish(const metric_measured& metric) {
        events_(metric);
        result_.event.metrics.push_back(metric);
    }

    // ---- the end ------------------------------------------------------------------------------

    void end_machine() {
        driver_.reset();
        if (vm_) {
            vm_->end(attempt_.seen().end == attempt_end::outcome);
            console();
            return;
        }
        if (keeper_link_)
            keeper_link_->send(wire::power_off{});
        // One that did not end in order has not ended what the body left either.
        const bool in_order = keeper_.running();
        if (keeper_.end_within(5000) != 0 || !in_order)
            kill_marked(keeper_mark_);
    }

    void write_down() {
        auto seen = attempt_.seen();
        seen.stands_still = stands_still_;
        auto judged = judge(seen);
        auto& e = result_.event;
        e.result = judged.result;
        e.why = judged.why;
        e.message = std::move(judged.message);
        e.dilation = attempt_.dilation();
        e.steal_host_ns = waited_.waited();
        if (vm_ && !attempt_.kernel_release().empty())
            e.kernel = attempt_.kernel_release();
        e.evidence = attempt_.remarks();
        e.failed_check_count = seen.failed_checks;
        if (const auto& end = seen.outcome) {
            e.checks = end->checks;
            e.body_s = static_cast<double>(end->body_ns) / 1e9;
            e.failed_check_count = std::max(e.failed_check_count, end->failed_checks);
            if (vm_ && vm_->has_steal_clock())
                e.steal_guest_ticks = end->steal_ticks;
            if (end->output_dropped > 0)
                e.notes.push_back(std::to_string(end->output_dropped) +
                                  " bytes of output beyond the limit were dropped");
        }
        if (const auto& end = seen.outcome; end && !end->metrics_lost.empty())
            e.notes.push_back(end->metrics_lost);
        for (auto& note : judged.notes)
            e.notes.push_back(std::move(note));
        if (const auto& facts = attempt_.scheduler()) {
            for (auto& note : scheduler_notes(*facts))
                e.notes.push_back(std::move(note));
            result_.remains.scheduler = scheduler_record(*facts);
            result_.remains.attached = facts->attach_ns.has_value();
        }
        e.total_s = seconds_of(clock::now() - begun_);
        e.output_tail = output_tail_.lines();
        e.output_lines = output_tail_.total();
        auto& left = result_.remains;
        left.interrupted = seen.end == attempt_end::stopped;
        left.said_hello = attempt_.dilation().has_value();
        left.lost_before_body =
            request_.scheduler_attached && e.why == reason::scheduler_exit && !e.start_s;
        left.blames_template = !left.said_hello && !request_.clone_state.empty() &&
                               (driver_ran_ || (vm_ && vm_->refused_state()));
        if (!vm_)
            return;
        if (e.result != verdict::pass)
            e.console_tail = vm_->console().tail(20);
        // Two witnesses of one fact, side by side for whoever wonders.
        if (e.steal_guest_ticks && e.steal_host_ns)
            e.notes.push_back("steal: the guest counted " + std::to_string(*e.steal_guest_ticks) +
                              " ticks, the host saw its vCPUs wait " +
                              std::to_string(*e.steal_host_ns / 1'000'000) + " ms");
        if (const auto& warned = vm_->console().warning_line(); !warned.empty())
            e.notes.push_back("the kernel warned: " + warned);
        if (vm_->console().dropped() > 0)
            e.notes.push_back(std::to_string(vm_->console().dropped()) +
                              " bytes of console beyond the limit were dropped");
        left.console = vm_->console().text();
        left.qemu_errors = vm_->errors();
        left.kvm_died = !vm_->kvm_last_words().empty();
    }

    // ---- small things -------------------------------------------------------------------------

    void stage(std::string text) {
        events_(stage_changed{result_.event.name, std::move(text), event_clock::now()});
    }
    static double seconds_of(clock::duration d) { return std::chrono::duration<double>(d).count(); }
    [[nodiscard]] host_link& link() { return vm_ ? vm_->link() : *keeper_link_; }

    const session_request& request_;
    fan_out& events_;
    session_result result_;
    attempt attempt_;
    clock::time_point begun_{}, wake_{};
    std::unique_ptr<running_machine> vm_;
    std::unique_ptr<host_link> keeper_link_;
    child keeper_;
    std::string keeper_mark_;  ///< in the environment of all that a keeper and its body start
    std::optional<machine_driver> driver_;
    bool driver_ran_ = false;  ///< and so the guest did
    std::string stands_still_;
    steal_witness waited_;
    line_tail output_tail_;
};

}  // namespace ktstr::host
