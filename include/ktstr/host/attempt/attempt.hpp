// SPDX-License-Identifier: MIT
// One attempt at one test as a state machine: what happens goes in with the time it happened at, what
// is to be done comes out. It has no descriptor and no clock of its own, so every order of events can
// be tried without a machine. Believes nothing a guest says out of turn. Host side.
#pragma once

#include <ktstr/host/attempt/evidence.hpp>
#include <ktstr/host/attempt/scheduler_notes.hpp>
#include <ktstr/host/cell/stage_limits.hpp>
#include <ktstr/host/report/event.hpp>
#include <ktstr/host/text/shell.hpp>
#include <ktstr/host/text/utf8.hpp>
#include <ktstr/linux/kernel_release.hpp>
#include <ktstr/wire/calibration.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace ktstr::host {

/// What an attempt has to know before it begins.
struct attempt_order {
    std::string name{};       ///< of the cell, for events; the guest knows its test alone
    int number = 1;           ///< of the attempts at this test
    bool has_machine = true;  ///< false: a host_only body, whose keeper is no guest
    bool expect_fail = false;
    bool emulated = false;    ///< an emulator executes the guest's code
    std::string scheduler{};  ///< the definition's name, and the kernel that it needs; empty: any
    std::string min_kernel{};
    wire::run_test test{};  ///< what the guest is told; its dilation and limits are filled in here
    std::chrono::milliseconds body_limit{};  ///< on a guest as fast as the host
    std::chrono::milliseconds boot_limit{};
    std::uint64_t host_calibration_ns = 1;
    int cpus = 1;
};

// ---- what goes in ----------------------------------------------------------------------------

namespace happened {

struct let_go {};  ///< the guest runs from now on
struct not_begun {
    reason why = reason::infrastructure;
    std::string words;
};
struct link_closed {
    std::string words;  ///< why, where that is known
};
struct link_broken {
    std::string words;  ///< what was sent
};
/// The console so far, see console_watch.
struct console {
    std::optional<reason> sign;
    std::string sign_line;
    std::string harness_line;
    bool ran_replaced_code = false;
};
struct kvm_died {
    std::string words;
};
/// After everything that the process left in its link and on its console.
struct process_ended {
    std::optional<int> status{};
    std::string refusal{};    ///< QEMU's own words, when it ended without a guest
    std::string kvm_words{};  ///< QEMU's, when KVM died under the guest
    std::string qemu_said{};  ///< its last line, whenever it ended
};
struct device_ended {};
struct stopped {};
struct tick {};

using anything = std::variant<wire::frame, let_go, not_begun, link_closed, link_broken, console,
                              kvm_died, process_ended, device_ended, stopped, tick>;

}  // namespace happened

// ---- what comes out --------------------------------------------------------------------------

struct attempt_effects {
    using time_point = std::chrono::steady_clock::time_point;

    std::vector<std::variant<wire::run_test, wire::ping>> send;  ///< an order goes behind a welcome
    std::vector<std::variant<stage_changed, test_output, check_failed, metric_measured>> publish;
    std::optional<wire::guest_stage> entered;  ///< for whoever measures at its borders
    time_point wake{};                         ///< a tick is due then
    bool settled = false;                      ///< there is nothing more to wait for
};

class attempt {
public:
    using time_point = attempt_effects::time_point;

    explicit attempt(attempt_order order) : order_(std::move(order)) {
        seen_.has_machine = order_.has_machine;
        seen_.expect_fail = order_.expect_fail;
        seen_.emulated = order_.emulated;
        seen_.scheduler_ordered = !order_.test.scheduler.empty();
    }

    [[nodiscard]] attempt_effects on(const happened::anything& input, time_point now) {
        attempt_effects out;
        now_ = now;
        out_ = &out;
        // What a console says after the end is still the kernel's word on this attempt.
        if (!settled_ || std::holds_alternative<happened::console>(input))
            std::visit([this](const auto& one) { on(one); }, input);
        out_ = nullptr;
        out.settled = settled_;
        out.wake = deadline_;
        if (at_ == attempt_phase::body && !last_question_)
            out.wake = std::min(out.wake, next_ping_);
        return out;
    }

    [[nodiscard]] bool settled() const noexcept { return settled_; }
    [[nodiscard]] const evidence& seen() const noexcept { return seen_; }
    [[nodiscard]] std::optional<double> dilation() const noexcept { return dilation_; }
    /// Of the guest, as it says; empty before its hello.
    [[nodiscard]] const std::string& kernel_release() const noexcept { return kernel_release_; }
    /// Facts beside the cause, one line each.
    [[nodiscard]] const std::vector<std::string>& remarks() const noexcept { return remarks_; }

    /// What became of the test's scheduler, as the guest says; nothing: it has none, or said nothing.
    [[nodiscard]] const std::optional<wire::scheduler_facts>& scheduler() const noexcept {
        return scheduler_;
    }

private:
    using milliseconds = std::chrono::milliseconds;

    // ---- the machine ----

    void on(const happened::let_go&) { enter(attempt_phase::boot, order_.boot_limit); }

    void on(const happened::not_begun& why) {
        seen_.why_not_begun = why.why;
        settle(attempt_end::not_begun, why.words);
    }

    void on(const happened::link_closed& closed) {
        seen_.link_closed = true;
        seen_.link_words = closed.words;
        // The end of the process or the console's last words come next and say more; a guest that
        // closes its link and lives on gets a moment, not the rest of its time.
        if (!order_.has_machine)
            return settle(attempt_end::process_ended);
        deadline_ = std::min(deadline_, now_ + scaled(std::chrono::seconds(5)));
    }

    void on(const happened::link_broken& broken) { settle(attempt_end::broken_link, broken.words); }

    void on(const happened::console& console) {
        // A kernel that has panicked usually ends its machine at once. One that can't gets a moment
        // for its last lines, not the rest of the time the test had.
        if (console.sign == reason::panic && seen_.sign != reason::panic)
            deadline_ = std::min(deadline_, now_ + scaled(std::chrono::seconds(3)));
        if (console.sign) {
            seen_.sign = console.sign;
            seen_.sign_line = console.sign_line;
        }
        seen_.harness_line = console.harness_line;
        seen_.ran_replaced_code = console.ran_replaced_code;
    }

    void on(const happened::kvm_died& died) {
        seen_.kvm_words = died.words;
        settle(attempt_end::kvm_died);
    }

    void on(const happened::process_ended& ended) {
        seen_.status = ended.status;
        seen_.kvm_words = ended.kvm_words;
        seen_.qemu_said = ended.qemu_said;
        settle(attempt_end::process_ended, ended.refusal);
    }

    void on(const happened::device_ended&) { settle(attempt_end::device_ended); }
    void on(const happened::stopped&) { settle(attempt_end::stopped); }

    void on(const happened::tick&) {
        if (at_ == attempt_phase::body && !last_question_ && now_ >= next_ping_) {
            if (ping_sent_ && now_ >= *ping_sent_ + patience()) {
                seen_.waited = now_ - *ping_sent_;
                return settle(attempt_end::unanswered);
            }
            ask();
            next_ping_ = now_ + std::chrono::seconds(1);
        }
        if (now_ < deadline_)
            return;
        // The guest ends a late body itself. When it did not, either it is gone too or its harness is at
        // fault; whether it answers once more tells which.
        if (at_ == attempt_phase::body && !last_question_ && !seen_.link_closed &&
            seen_.sign != reason::panic) {
            last_question_ = true;
            ask();
            deadline_ = *ping_sent_ + patience();
            return;
        }
        late();
    }

    void late() {
        seen_.ping_unanswered = ping_sent_.has_value();
        seen_.waited = now_ - ping_sent_.value_or(since_);
        settle(attempt_end::late);
    }

    /// Sends a ping, unless one is on its way.
    void ask() {
        if (ping_sent_)
            return;
        ping_sent_ = now_;
        out_->send.emplace_back(wire::ping{++ping_token_});
    }

    // ---- the guest ----

    void on(const wire::frame& f) {
        switch (f.type) {
            case wire::message_type::hello:
                return take<wire::hello>(f);
            case wire::message_type::topology_proof:
                return take<wire::topology_proof>(f);
            case wire::message_type::stage:
                return take<wire::stage>(f);
            case wire::message_type::output:
                return take<wire::output>(f);
            case wire::message_type::check:
                return take<wire::check>(f);
            case wire::message_type::metric:
                return take<wire::metric>(f);
            case wire::message_type::worker:
                return take<wire::worker>(f);
            case wire::message_type::outcome:
                return take<wire::outcome>(f);
            case wire::message_type::scheduler_facts:
                return take<wire::scheduler_facts>(f);
            case wire::message_type::log:
                return take<wire::log>(f);
            case wire::message_type::pong:
                return take<wire::pong>(f);
            default:
                break;
        }
        broken("a message of type " + std::to_string(static_cast<int>(f.type)) +
               " that no guest may send");
    }

    template <class Message>
    void take(const wire::frame& f) {
        auto message = wire::decode<Message>(f.payload);
        if (!message)
            return broken("a malformed message of type " +
                          std::to_string(static_cast<int>(f.type)));
        const bool first = f.type == wire::message_type::hello;
        if (first != (at_ == attempt_phase::boot))
            return broken(first ? "a second hello" : "something before its hello");
        said(std::move(*message));
    }

    void said(wire::hello hello) {
        if (hello.version != wire::protocol_version)
            return settle(attempt_end::other_version,
                          "the guest speaks protocol " + std::to_string(hello.version) +
                              " and this host " + std::to_string(wire::protocol_version) +
                              "; build the test program and the guest from one version of ktstr");
        dilation_ = wire::dilation_of(hello.calibration_ns, order_.host_calibration_ns);
        kernel_release_ = valid_utf8(hello.kernel_release);
        // The kernel's own word; the name of an image may have said nothing.
        if (const auto enough = release_is_at_least(kernel_release_, order_.min_kernel);
            enough != true) {
            const auto needs = "the scheduler " + order_.scheduler + " needs a kernel from " +
                               order_.min_kernel + " on, and this is " + kernel_release_;
            seen_.why_not_begun = enough ? reason::requirement : reason::infrastructure;
            return settle(attempt_end::not_begun,
                          enough ? needs : needs + ": releases that can't be compared");
        }
        body_limit_ = scaled(order_.body_limit);
        auto order = order_.test;
        order.timeout_ms = static_cast<std::uint64_t>(body_limit_.count());
        order.dilation = *dilation_;
        out_->send.emplace_back(std::move(order));
        enter(attempt_phase::preparing, scaled(stage_limits::preparing(order_.cpus)));
    }

    void said(const wire::topology_proof& proof) {
        if (!proof.matches)
            remark("the guest's machine is " + proof.observed);
    }

    /// Each stage begins once, and none before an earlier one: a guest that could begin one again would
    /// get its time again.
    void said(const wire::stage& entered) {
        if (stage_ && entered.at <= *stage_)
            return broken("a stage out of turn");
        stage_ = entered.at;
        out_->entered = entered.at;
        switch (entered.at) {
            case wire::guest_stage::proving_topology:
                return tell_stage("prove topology");
            case wire::guest_stage::starting_scheduler:
                tell_stage(
                    (order_.test.attached ? "find attached scheduler " : "start scheduler ") +
                    scheduler_command());
                return enter(attempt_phase::preparing,
                             body_limit_ + scaled(stage_limits::attaching));
            case wire::guest_stage::body:
                tell_stage("body");
                body_began_ = true;
                next_ping_ = now_ + std::chrono::seconds(1);
                return enter(attempt_phase::body,
                             body_limit_ +
                                 scaled(stage_limits::behind_body(!order_.test.scheduler.empty())));
            case wire::guest_stage::collecting:
                tell_stage("collect");
                return enter(attempt_phase::collecting, scaled(stage_limits::collecting));
            case wire::guest_stage::started:
            case wire::guest_stage::done:
                break;
        }
    }

    void said(wire::output output) {
        // The guest keeps the same limit; a guest that does not is cut here.
        if (output_bytes_ >
            wire::max_output_per_test + wire::max_scheduler_output + wire::output_chunk)
            return;
        output_bytes_ += output.bytes.size();
        out_->publish.emplace_back(test_output{
            .test = order_.name,
            .stream = output.stream == wire::stream::out ? output_stream::out : output_stream::err,
            .bytes = std::move(output.bytes)});
    }

    void said(wire::check check) {
        if (!body_began_)
            return broken("a failed check before its body");
        if (seen_.failed_checks++ >= wire::max_failed_checks_sent)
            return;
        check_failed failed{.test = order_.name,
                            .attempt = order_.number,
                            .file = std::move(check.file),
                            .line = static_cast<int>(check.line),
                            .kind = std::move(check.kind),
                            .expression = std::move(check.expression),
                            .expansion = std::move(check.expansion),
                            .message = std::move(check.message),
                            .info = std::move(check.info)};
        if (seen_.failed_checks == 1) {
            auto& text = seen_.first_failed;
            text = failed.file + ':' + std::to_string(failed.line) + ": " + failed.expression;
            if (!failed.expansion.empty() && failed.expansion != failed.expression)
                text += " (" + failed.expansion + ')';
            if (!failed.message.empty())
                text += ": " + failed.message;
        }
        out_->publish.emplace_back(std::move(failed));
    }

    void said(wire::metric metric) {
        if (!body_began_)
            return broken("a metric before its body");
        if (const char* const fault = metric.fault(); fault != nullptr)
            return broken(std::string("what is no metric: ") + fault);
        if (metric.of_workers ? worker_metrics_++ < wire::max_worker_metrics
                              : metrics_++ < wire::max_metrics)
            publish(std::move(metric));
    }
    void publish(wire::metric metric) {
        out_->publish.emplace_back(metric_measured{.test = order_.name,
                                                   .attempt = order_.number,
                                                   .name = std::move(metric.name),
                                                   .value = metric.value,
                                                   .unit = std::move(metric.unit),
                                                   .better = metric.better});
    }

    void said(const wire::worker& worker) {
        if (!worker.completed && unfinished_workers_++ < 8)
            remark("worker " + std::to_string(worker.index) + " of cgroup " + worker.cgroup + ": " +
                   worker.exit_text);
    }

    void said(wire::scheduler_facts facts) {
        if (order_.test.scheduler.empty() || scheduler_)
            return broken("facts of a scheduler, which are out of turn");
        seen_.attached = valid_utf8(facts.ops);
        for (auto& one : scheduler_metrics(facts))
            publish(std::move(one));
        scheduler_ = std::move(facts);
    }

    void said(wire::log log) { remark(std::move(log.text)); }

    void said(const wire::pong& pong) {
        if (pong.token != ping_token_)
            return;
        ping_sent_.reset();
        if (last_question_)
            late();
    }

    void said(wire::outcome outcome) {
        if (at_ != attempt_phase::collecting || outcome.verdict != verdict_of(outcome.reason) ||
            !a_guest_may_say(outcome.reason))
            return broken("an outcome that is out of turn or contradicts itself");
        seen_.outcome = std::move(outcome);
        settle(attempt_end::outcome);
    }

    /// A guest knows nothing of the host's reasons, nor how a body ended that never began.
    [[nodiscard]] bool a_guest_may_say(reason why) const {
        switch (why) {
            case reason::panic:
            case reason::oops:
            case reason::lockup:
            case reason::guest_exit:
            case reason::hang:
            case reason::boot_timeout:
            case reason::requirement:
                return false;
            case reason::scheduler_attach:
                return !order_.test.scheduler.empty() || !order_.test.enable.empty();
            case reason::scheduler_exit:
                return !order_.test.scheduler.empty();
            case reason::topology_mismatch:
            case reason::infrastructure:
                return true;
            default:
                return body_began_;
        }
    }

    // ---- small things ----

    void broken(std::string what) { settle(attempt_end::broken_link, std::move(what)); }

    void settle(attempt_end how, std::string words = {}) {
        if (settled_)
            return;
        settled_ = true;
        seen_.end = how;
        seen_.at = at_;
        seen_.words = std::move(words);
    }

    void enter(attempt_phase phase, milliseconds limit) {
        at_ = phase;
        since_ = now_;
        ping_sent_.reset();
        last_question_ = false;
        deadline_ = now_ + limit;
    }

    /// Exactly what the guest executes.
    [[nodiscard]] std::string scheduler_command() const {
        std::vector<std::string> words{order_.test.scheduler};
        words.insert(words.end(), order_.test.scheduler_args.begin(),
                     order_.test.scheduler_args.end());
        return shell_quoted(words);
    }

    void tell_stage(std::string text) {
        out_->publish.emplace_back(stage_changed{order_.name, std::move(text), now_});
    }

    void remark(std::string line) {
        if (remarks_.size() < 32)
            remarks_.push_back(std::move(line));
    }

    /// How long an answer may take.
    [[nodiscard]] milliseconds patience() const { return scaled(std::chrono::seconds(10)); }
    [[nodiscard]] milliseconds scaled(milliseconds limit) const {
        return milliseconds(static_cast<std::int64_t>(static_cast<double>(limit.count()) *
                                                      dilation_.value_or(1.0)));
    }

    attempt_order order_;
    evidence seen_;
    attempt_phase at_ = attempt_phase::boot;
    std::optional<wire::guest_stage> stage_;
    time_point now_{}, since_{}, next_ping_{};
    time_point deadline_ = time_point::max();
    milliseconds body_limit_{};
    std::optional<double> dilation_;
    std::optional<time_point> ping_sent_;  ///< while it is not answered
    std::uint64_t ping_token_ = 0;
    std::uint64_t output_bytes_ = 0;
    std::uint64_t metrics_ = 0;
    std::uint64_t worker_metrics_ = 0;
    int unfinished_workers_ = 0;
    std::string kernel_release_;
    std::vector<std::string> remarks_;
    std::optional<wire::scheduler_facts> scheduler_;
    attempt_effects* out_ = nullptr;  ///< of the call that is under way
    bool last_question_ = false;      ///< asked when the body's time was over
    bool body_began_ = false;
    bool settled_ = false;
};

}  // namespace ktstr::host
