// SPDX-License-Identifier: MIT
// The life of one attempt at one test: start the machine (or the keeper of a host_only body), mask
// its vCPUs, follow the guest through its stages with the host's own clock on each, and judge. One
// thread, one poll loop; whatever happens, the machine is gone when this returns. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/process/child.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/report/line_tail.hpp>
#include <ktstr/host/report/reporter.hpp>
#include <ktstr/host/report/text.hpp>
#include <ktstr/host/run/calibration.hpp>
#include <ktstr/host/run/next_machine.hpp>
#include <ktstr/host/run/running_machine.hpp>
#include <ktstr/host/run/session_limits.hpp>
#include <ktstr/host/vm/machine.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ktstr::host {

/// Everything an attempt needs to know.
struct session_request {
    const test_case* test = nullptr;
    ktstr::topology topology{};
    int attempt = 1;
    std::uint64_t seed = 0;

    // A machine; absent for host_only.
    std::optional<host::machine> machine;
    std::filesystem::path qemu;
    link_facts links;
    std::string kernel_release;
    host::placement placement;

    std::filesystem::path clone_state;  ///< of the template, when the machine is a clone
    std::uint64_t program_size = 0;     ///< of a clone, see wire::resume
    std::filesystem::path own_program;  ///< starts the keeper of a host_only body
    std::filesystem::path private_dir;
    std::uint64_t host_calibration_ns = 1;
    double slowdown = 1;  ///< of the host itself, when it is an emulated machine
    int stop_fd = -1;
    std::vector<std::string> faults;  ///< test-only switches
};

[[nodiscard]] inline machine_request machine_of(const session_request& request) {
    return {.machine = *request.machine,
            .qemu = request.qemu,
            .links = request.links,
            .private_dir = request.private_dir,
            .name = std::string(request.test->name),
            .placement = request.placement,
            .state = request.clone_state,
            .program_size = request.program_size,
            .mount_files = request.test->spec.scheduler != nullptr,
            .slowdown = request.slowdown};
}

/// What is left of an attempt besides the event: the files for the artefacts.
struct session_remains {
    std::string console;
    std::string qemu_errors;
    std::string command_line;
    std::string output;
    bool interrupted = false;
    bool kvm_died = false;
    bool said_hello = false;  ///< the guest came up
};

struct session_result {
    test_finished event;
    session_remains remains;
};

class session {
public:
    session(const session_request& request, fan_out& events) : request_(request), events_(events) {}

    /// `prepared`: the machine, where it was started ahead of its turn. `meanwhile` is called once while
    /// the machine wakes up or boots, and never while a body runs.
    [[nodiscard]] session_result run(next_machine::started prepared = {},
                                     const std::function<void()>& meanwhile = {}) {
        begun_ = clock::now();
        prepared_ = std::move(prepared);
        auto& e = result_.event;
        const auto& test = *request_.test;
        e.name = test.name;
        e.file = test.file;
        e.line = test.line;
        e.attempt = request_.attempt;
        e.seed = request_.seed;
        if (request_.machine) {
            e.accel = std::string(to_text(request_.machine->accel));
            e.topology = std::string(ktstr::to_text(request_.topology));
            e.kernel = valid_utf8(request_.kernel_release);
            e.boot = request_.clone_state.empty() ? "cold" : "clone";
        }
        events_(test_started{.name = e.name,
                             .file = e.file,
                             .line = e.line,
                             .topology = std::string(ktstr::to_text(request_.topology)),
                             .attempt = request_.attempt,
                             .timeout = test.spec.body_limit(),
                             .at = event_clock::now()});
        if (auto started = request_.machine ? start_machine() : start_keeper(); !started)
            settle(reason::infrastructure, started.error().message());
        else if (meanwhile && !settled_)
            meanwhile();
        while (!settled_)
            turn();
        end_machine();
        judge();
        return std::move(result_);
    }

private:
    using clock = std::chrono::steady_clock;

    // ---- start --------------------------------------------------------------------------------

    [[nodiscard]] result<void> start_machine() {
        stage("boot");
        const auto& m = *request_.machine;
        if (prepared_.vm) {
            vm_ = std::move(prepared_.vm);
            result_.remains.command_line = std::move(prepared_.command_line);
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
        if (request_.test->spec.requires_steal && !vm_->has_steal_clock()) {
            settle(reason::requirement,
                   "the test requires steal time, and QEMU gives this guest no steal clock");
            return {};
        }
        if (auto going = vm_->go(); !going)
            return going;
        deadline_ = clock::now() +
                    fault_value("boot-limit-ms=")
                        .value_or(boot_limit(m.accel, m.topology.total_cpus(), request_.slowdown));
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
        start.program = request_.own_program;
        start.arguments = {"--internal-body", std::to_string(theirs.get()), "--filter",
                           std::string(request_.test->name)};
        start.inherited = {theirs.get()};
        start.standard_error = 2;
        auto process = start_child(start);
        if (!process)
            return std::move(process).error();
        keeper_ = std::move(*process);
        deadline_ = begun_ + std::chrono::seconds(60);
        return {};
    }

    // ---- the loop -----------------------------------------------------------------------------

    void turn() {
        std::array<pollfd, 6> fds{};
        std::size_t count = 0;
        const auto watch = [&](int fd) {
            fds[count] = {fd, POLLIN, 0};
            return count++;
        };
        const auto on_link = watch(link_closed_ ? -1 : link().fd());
        const auto on_console = watch(vm_ ? vm_->console_fd() : -1);
        const auto on_errors = watch(vm_ ? vm_->errors_fd() : -1);
        const auto on_end = watch(process().pidfd());
        const auto on_stop = watch(request_.stop_fd);
        const auto on_device = watch(link().device().running() ? link().device().pidfd() : -1);

        const auto now = clock::now();
        auto wake = deadline_;
        if (in_body_ && next_ping_ < wake)
            wake = next_ping_;
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(wake - now).count();
        const int ready =
            ::poll(fds.data(), count, static_cast<int>(std::clamp<long>(wait, 0, 60'000)));
        if (ready < 0)
            return;
        if (fds[on_console].revents != 0) {
            vm_->read_console();
            // A kernel that has panicked usually ends its machine at once. One that can't gets a
            // moment for its last lines, not the rest of the time the test had.
            if (vm_->console().sign() == reason::panic && !panicked_) {
                panicked_ = true;
                deadline_ = std::min(deadline_, clock::now() + scaled(std::chrono::seconds(3)));
            }
        }
        if (fds[on_errors].revents != 0)
            vm_->read_errors();
        if (fds[on_link].revents != 0)
            read_link();
        if (settled_)
            return;
        if (fds[on_stop].revents != 0) {
            result_.remains.interrupted = true;
            return settle(reason::infrastructure, "interrupted");
        }
        if (fds[on_end].revents != 0)
            return machine_ended();
        if (fds[on_device].revents != 0)
            return settle(reason::infrastructure, "vhost-device-vsock ended during the test");
        if (vm_ && !vm_->kvm_last_words().empty())
            return settle(reason::infrastructure,
                          "KVM died under the guest: " + vm_->kvm_last_words() +
                              "; use --accel tcg or --accel nested");
        check_clock();
    }

    void check_clock() {
        const auto now = clock::now();
        if (in_body_ && now >= next_ping_) {
            if (ping_outstanding_ && now >= ping_deadline_)
                return settle(reason::hang, "the guest has not answered for " +
                                                seconds(now - ping_sent_) +
                                                " s while the body ran");
            if (!ping_outstanding_) {
                ping_outstanding_ = true;
                ping_sent_ = now;
                ping_deadline_ = now + scaled(std::chrono::seconds(10));
                link().send(wire::ping{++ping_token_});
            }
            next_ping_ = now + std::chrono::seconds(1);
        }
        if (now < deadline_)
            return;
        if (panicked_)
            return settle(reason::panic, vm_->console().sign_line());
        switch (at_) {
            case point::boot:
                return settle(reason::boot_timeout, "the guest did not say hello in " +
                                                        seconds(now - begun_) + " s" +
                                                        harness_words());
            case point::preparing:
                return settle(reason::hang, "the guest did not start the body in " +
                                                seconds(now - since_) + " s");
            case point::body:
                // The guest ends a late body itself. When it did not, either it is gone too or its
                // harness is at fault; an unanswered ping tells which.
                if (ping_outstanding_)
                    return settle(reason::hang, "the guest has not answered for " +
                                                    seconds(now - ping_sent_) +
                                                    " s, and the body's time is over");
                return settle(reason::timeout, "the body did not return in " +
                                                   seconds(now - since_) +
                                                   " s, and the guest did not end it");
            case point::collecting:
                return settle(reason::hang, "the guest did not deliver the outcome in " +
                                                seconds(now - since_) + " s");
        }
    }

    void read_link() {
        if (link_closed_)
            return;
        if (!link().receive()) {
            if (vm_ && at_ == point::boot && vm_->call_again())
                return;
            link_closed_ = true;
            // The end of the process or the console's last words come next and say more; a guest
            // that closes its link and lives on is caught by its own clock.
            if (!request_.machine)
                return machine_ended();
            deadline_ = std::min(deadline_, clock::now() + scaled(std::chrono::seconds(5)));
            return;
        }
        while (!settled_) {
            auto f = link().next();
            if (!f)
                break;
            handle(*f);
        }
        if (!link().fault().empty() && !settled_)
            settle(reason::infrastructure,
                   "the guest sent " + link().fault() + "; the link is closed");
    }

    void handle(const wire::frame& f) {
        switch (f.type) {
            case wire::message_type::hello:
                return on(wire::decode<wire::hello>(f.payload));
            case wire::message_type::topology_proof:
                return on(wire::decode<wire::topology_proof>(f.payload));
            case wire::message_type::stage:
                return on(wire::decode<wire::stage>(f.payload));
            case wire::message_type::output:
                return on(wire::decode<wire::output>(f.payload));
            case wire::message_type::check:
                return on(wire::decode<wire::check>(f.payload));
            case wire::message_type::worker:
                return on(wire::decode<wire::worker>(f.payload));
            case wire::message_type::outcome:
                return on(wire::decode<wire::outcome>(f.payload));
            case wire::message_type::log:
                return on(wire::decode<wire::log>(f.payload));
            case wire::message_type::pong:
                return on(wire::decode<wire::pong>(f.payload));
            default:
                break;
        }
        broken("a message of type " + std::to_string(static_cast<int>(f.type)) +
               " that no guest may send");
    }

    void broken(const std::string& what) {
        settle(reason::infrastructure, "the guest sent " + what + "; the link is closed");
    }

    void on(const std::optional<wire::hello>& hello) {
        if (!hello || at_ != point::boot)
            return broken("a hello that is malformed or out of turn");
        if (hello->version != wire::protocol_version)
            return settle(reason::infrastructure,
                          "the guest speaks protocol " + std::to_string(hello->version) +
                              " and this host " + std::to_string(wire::protocol_version) +
                              "; build the test program and the guest from one version of ktstr");
        dilation_ = dilation_of(hello->calibration_ns, request_.host_calibration_ns);
        result_.remains.said_hello = true;
        auto& e = result_.event;
        e.dilation = dilation_;
        if (request_.machine)
            e.kernel = valid_utf8(hello->kernel_release);
        const auto& spec = request_.test->spec;
        limit_ = scaled(spec.body_limit());
        wire::run_test order{
            .name = std::string(request_.test->name),
            .topology = std::string(ktstr::to_text(request_.topology)),
            .seed = request_.seed,
            .duration_ms = static_cast<std::uint64_t>(spec.duration.count()),
            .timeout_ms = static_cast<std::uint64_t>(limit_.count()),
            .dilation = dilation_,
            // A clone's template has proved it.
            .prove_topology = request_.machine.has_value() && request_.clone_state.empty(),
        };
        const int nodes = request_.topology.num_numa_nodes();
        if (nodes > 1)
            for (int from = 0; from < nodes; ++from)
                for (int to = 0; to < nodes; ++to)
                    order.distances.push_back(
                        static_cast<std::uint32_t>(request_.topology.distance(from, to)));
        if (spec.scheduler != nullptr) {
            if (!request_.clone_state.empty())
                order.scheduler = wire::files_root;
            order.scheduler += "/ktstr/scheduler";
            for (const auto& a : spec.scheduler->args)
                order.scheduler_args.emplace_back(a);
            for (const auto& a : spec.scheduler_args)
                order.scheduler_args.emplace_back(a);
        }
        if (fault("wrong-topology"))
            order.topology = "1n7l1c1t";
        link().send(
            wire::welcome{.wall_clock_ns = request_.clone_state.empty() ? wall_clock_ns() : 0},
            order);
        enter(point::preparing,
              scaled(std::chrono::seconds(30)) +
                  scaled(std::chrono::milliseconds(100)) * request_.topology.total_cpus());
    }

    void on(const std::optional<wire::topology_proof>& proof) {
        if (!proof)
            return broken("a malformed topology proof");
        if (!proof->matches)
            note_evidence("the guest's machine is " + proof->observed);
    }

    void on(const std::optional<wire::stage>& entered) {
        if (!entered)
            return broken("a malformed stage");
        switch (entered->at) {
            case wire::guest_stage::proving_topology:
                stage("prove topology");
                break;
            case wire::guest_stage::starting_scheduler:
                stage("start scheduler");
                enter(point::preparing, limit_ + scaled(std::chrono::seconds(30)));
                break;
            case wire::guest_stage::body:
                stage("body");
                result_.event.start_s = seconds_of(clock::now() - begun_);
                waited_before_ = vm_ ? vm_->waited_ns() : std::nullopt;
                enter(point::body, limit_ + scaled(std::chrono::seconds(5)));
                in_body_ = true;
                next_ping_ = clock::now() + std::chrono::seconds(1);
                if (vm_ && fault("freeze-guest"))
                    (void)vm_->qmp().ask("stop");
                break;
            case wire::guest_stage::collecting:
                if (const auto now = vm_ ? vm_->waited_ns() : std::nullopt; now && waited_before_)
                    result_.event.steal_host_ns = *now - *waited_before_;
                in_body_ = false;
                stage("collect");
                enter(point::collecting, scaled(std::chrono::seconds(10)));
                break;
            default:
                break;
        }
    }

    void on(const std::optional<wire::output>& output) {
        if (!output)
            return broken("malformed output");
        // The guest keeps the same limit; a guest that does not is cut here.
        if (result_.remains.output.size() > wire::max_output_per_test + wire::output_chunk)
            return;
        result_.remains.output += output->bytes;
        output_tail_.feed(output->bytes);
        events_(test_output{
            .test = result_.event.name,
            .stream = output->stream == wire::stream::out ? output_stream::out : output_stream::err,
            .bytes = output->bytes});
    }

    void on(const std::optional<wire::check>& check) {
        if (!check)
            return broken("a malformed check");
        auto& e = result_.event;
        ++e.failed_check_count;
        if (e.failed_checks.size() >= wire::max_failed_checks_sent)
            return;
        check_failed failed{.test = e.name,
                            .attempt = e.attempt,
                            .file = check->file,
                            .line = static_cast<int>(check->line),
                            .kind = check->kind,
                            .expression = check->expression,
                            .expansion = check->expansion,
                            .message = check->message,
                            .info = check->info};
        events_(failed);
        e.failed_checks.push_back(std::move(failed));
    }

    void on(const std::optional<wire::worker>& worker) {
        if (!worker)
            return broken("a malformed worker report");
        if (!worker->completed && unfinished_workers_++ < 8)
            note_evidence("worker " + std::to_string(worker->index) + " of cgroup " +
                          worker->cgroup + ": " + worker->exit_text);
    }

    void on(const std::optional<wire::log>& log) {
        if (!log)
            return broken("a malformed log line");
        note_evidence(log->text);
    }

    void on(const std::optional<wire::pong>& pong) {
        if (!pong)
            return broken("a malformed pong");
        if (pong->token == ping_token_)
            ping_outstanding_ = false;
    }

    void on(const std::optional<wire::outcome>& outcome) {
        if (!outcome || outcome_)
            return broken("an outcome that is malformed or the second one");
        outcome_ = *outcome;
        settled_ = true;
    }

    // ---- the end ------------------------------------------------------------------------------

    void machine_ended() {
        const auto status = process().try_wait();
        read_link();
        if (vm_) {
            vm_->read_console();
            vm_->read_errors();
        }
        if (settled_)
            return;
        if (!vm_)
            return settle(reason::infrastructure,
                          "the keeper of the body ended without an outcome");
        if (!vm_->errors().empty() && vm_->console().text().empty())
            return settle(reason::infrastructure,
                          vm_->refused(plain_error("run", "QEMU", "it ended")).message());
        if (!vm_->kvm_last_words().empty())
            return settle(reason::infrastructure,
                          "KVM died under the guest: " + vm_->kvm_last_words());
        if (status && WIFSIGNALED(*status))
            return settle(
                reason::infrastructure,
                "QEMU was killed by signal " + std::to_string(WTERMSIG(*status)) +
                    (WTERMSIG(*status) == SIGKILL ? " (out of memory on the host?)" : ""));
        if (!vm_->console().harness_line().empty() && at_ == point::boot)
            return settle(reason::infrastructure,
                          "the guest could not start the test" + harness_words());
        settle(reason::guest_exit, "the guest powered off without a verdict" + harness_words());
    }

    void settle(reason why, std::string message) {
        if (settled_)
            return;
        settled_ = true;
        wire::outcome end;
        end.verdict = verdict_of(why);
        end.reason = why;
        end.message = std::move(message);
        host_outcome_ = std::move(end);
    }

    void end_machine() {
        if (vm_) {
            vm_->end(outcome_.has_value());
            return;
        }
        if (keeper_link_)
            keeper_link_->send(wire::power_off{});
        keeper_.end_within(5000);
    }

    void judge() {
        auto& e = result_.event;
        const auto& end = outcome_ ? *outcome_ : *host_outcome_;
        e.result = end.verdict;
        e.why = end.reason;
        e.message = end.message;
        if (outcome_) {
            e.checks = end.checks;
            e.body_s = static_cast<double>(end.body_ns) / 1e9;
            e.failed_check_count = std::max(e.failed_check_count, end.failed_checks);
            if (vm_ && vm_->has_steal_clock())
                e.steal_guest_ticks = end.steal_ticks;
            if (end.output_dropped > 0)
                e.notes.push_back(std::to_string(end.output_dropped) +
                                  " bytes of output beyond the limit were dropped");
        }
        // What the kernel said of itself outranks what the body made of it, and explains a silence.
        const auto sign = vm_ ? vm_->console().sign() : std::nullopt;
        if (sign && !result_.remains.interrupted && e.why != reason::requirement) {
            e.result = verdict::fail;
            e.why = *sign;
            e.message = vm_->console().sign_line();
        }
        if (e.why == reason::check && e.message.empty() && !e.failed_checks.empty()) {
            const auto& c = e.failed_checks.front();
            e.message = c.file + ':' + std::to_string(c.line) + ": " + c.expression;
            if (!c.expansion.empty() && c.expansion != c.expression)
                e.message += " (" + c.expansion + ')';
            if (!c.message.empty())
                e.message += ": " + c.message;
        }
        if (request_.test->spec.expect_fail && !result_.remains.interrupted) {
            if (e.result == verdict::fail) {
                e.notes.push_back("failed as expected: " + e.message);
                e.result = verdict::pass;
                e.why = reason::none;
                e.message.clear();
            } else if (e.result == verdict::pass) {
                e.result = verdict::fail;
                e.why = reason::check;
                e.message = "the test is marked expect_fail, and it passed";
            }
        }
        e.total_s = seconds_of(clock::now() - begun_);
        e.output_tail = output_tail_.lines();
        e.output_lines = output_tail_.total();
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
        result_.remains.console = vm_->console().text();
        result_.remains.qemu_errors = vm_->errors();
        result_.remains.kvm_died = !vm_->kvm_last_words().empty();
    }

    // ---- small things -------------------------------------------------------------------------

    enum class point { boot, preparing, body, collecting };

    void enter(point p, std::chrono::milliseconds limit) {
        at_ = p;
        since_ = clock::now();
        deadline_ = since_ + limit;
    }
    void stage(std::string text) {
        events_(stage_changed{result_.event.name, std::move(text), event_clock::now()});
    }
    [[nodiscard]] std::chrono::milliseconds scaled(std::chrono::milliseconds limit) const {
        return std::chrono::milliseconds(
            static_cast<std::int64_t>(static_cast<double>(limit.count()) * dilation_));
    }
    [[nodiscard]] bool fault(std::string_view name) const {
        return std::find(request_.faults.begin(), request_.faults.end(), name) !=
               request_.faults.end();
    }
    [[nodiscard]] std::optional<std::chrono::milliseconds> fault_value(
        std::string_view prefix) const {
        for (const auto& fault : request_.faults)
            if (fault.starts_with(prefix))
                return std::chrono::milliseconds(std::atol(fault.c_str() + prefix.size()));
        return std::nullopt;
    }
    static double seconds_of(clock::duration d) { return std::chrono::duration<double>(d).count(); }
    static std::string seconds(clock::duration d) {
        const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(d).count() / 100;
        return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10);
    }
    [[nodiscard]] std::string harness_words() const {
        return !vm_ || vm_->console().harness_line().empty() ? std::string{}
                                                             : ": " + vm_->console().harness_line();
    }
    [[nodiscard]] host_link& link() { return vm_ ? vm_->link() : *keeper_link_; }
    [[nodiscard]] child& process() { return vm_ ? vm_->process() : keeper_; }
    void note_evidence(std::string line) {
        if (result_.event.evidence.size() < 32)
            result_.event.evidence.push_back(std::move(line));
    }

    const session_request& request_;
    fan_out& events_;
    session_result result_;
    clock::time_point begun_{}, since_{}, deadline_{}, next_ping_{}, ping_sent_{}, ping_deadline_{};
    std::chrono::milliseconds limit_{};
    point at_ = point::boot;
    next_machine::started prepared_;
    std::unique_ptr<running_machine> vm_;
    std::unique_ptr<host_link> keeper_link_;
    child keeper_;
    std::optional<std::uint64_t> waited_before_;
    line_tail output_tail_;
    std::optional<wire::outcome> outcome_;       // the guest's word
    std::optional<wire::outcome> host_outcome_;  // ours, when the guest gave none
    double dilation_ = 1.0;
    std::uint64_t ping_token_ = 0;
    int unfinished_workers_ = 0;
    bool settled_ = false;
    bool in_body_ = false;
    bool ping_outstanding_ = false;
    bool link_closed_ = false;
    bool panicked_ = false;
};

}  // namespace ktstr::host
