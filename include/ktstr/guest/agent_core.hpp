// SPDX-License-Identifier: MIT
// What the agent decides, as a state machine: the host's frames and the ends of its processes go in, in
// the order in which they happened, and every deed is one function of `agent_deeds`. No descriptor, no
// process and no clock of its own, so every order of events can be tried on a fake. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/guest/scheduler_core.hpp>
#include <ktstr/guest/scx_words.hpp>
#include <ktstr/topology/topology.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::guest {

/// Where an agent is in its one conversation with a host.
enum class agent_phase : std::uint8_t {
    greeting,   ///< it has said hello, or is about to
    idle,       ///< it waits for its order
    command,    ///< a command runs
    attaching,  ///< the scheduler under test has started and is not attached
    resting,    ///< of a template: the scheduler is attached, and nothing more will be done
    doubting,  ///< of a clone: what its template had attached is ending, and the kernel's record is due
    arriving,  ///< the body's process is not yet the program that it is to become
    body,      ///< the body runs
    cutting,   ///< the body was killed and is not yet gone
    settling,  ///< the body has ended, and the kernel's record of its scheduler's end is due
    finished,  ///< the outcome is sent
    left       ///< nothing more will be done
};

[[nodiscard]] constexpr const char* to_text(agent_phase phase) {
    switch (phase) {
        case agent_phase::greeting:
            return "before its host's welcome";
        case agent_phase::idle:
            return "without an order";
        case agent_phase::command:
            return "while a command runs";
        case agent_phase::attaching:
        case agent_phase::resting:
            return "while the scheduler starts";
        case agent_phase::doubting:
        case agent_phase::arriving:
            return "before the body";
        case agent_phase::body:
        case agent_phase::cutting:
        case agent_phase::settling:
            return "while the body runs";
        case agent_phase::finished:
            return "after the outcome";
        case agent_phase::left:
            break;
    }
    return "at its end";
}

/// What an agent can do. The real one is `agent`.
class agent_deeds : public scheduler_deeds {
public:
    virtual void send(const std::vector<wire::frame>& frames) = 0;  ///< in one write
    virtual void complain(const std::string& why) = 0;  ///< to the console, which outlives the link
    [[nodiscard]] virtual std::uint64_t boot_ns() const = 0;  ///< CLOCK_BOOTTIME
    /// Rings once after `first_ns`, then every `interval_ns`; 0 and 0: never.
    virtual void set_timer(std::uint64_t first_ns, std::uint64_t interval_ns) = 0;
    virtual void set_wall_clock(std::uint64_t ns) = 0;

    [[nodiscard]] virtual wire::topology_proof prove(const topology& wanted,
                                                     const wire::run_test& order) = 0;
    /// Nothing where the machine is not the test's own.
    [[nodiscard]] virtual std::optional<int> online_cpus() = 0;

    [[nodiscard]] virtual result<void> set_sysctl(const std::string& assignment) = 0;
    [[nodiscard]] virtual bool body_is_elsewhere()
        const = 0;  ///< its process is not yet its program
    [[nodiscard]] virtual result<void> begin_body(const wire::run_test& order) = 0;
    virtual void kill_body() = 0;
    virtual void
    repeat_first_words() = 0;         ///< what the scheduler said before the machine was saved
    virtual void end_children() = 0;  ///< every process of the test

    [[nodiscard]] virtual result<void> start_command(const wire::run_command& order) = 0;
    virtual void write_input(const std::string& bytes) = 0;
    virtual void resize(const wire::window_size& size) = 0;
};

class agent_core {
public:
    explicit agent_core(agent_deeds& deeds) : deeds_(deeds) {}

    [[nodiscard]] agent_phase phase() const noexcept { return phase_; }
    [[nodiscard]] bool left() const noexcept { return phase_ == agent_phase::left; }

    // ---- a template with a scheduler that is attached ----

    /// Of the next order only what comes before a body is carried out, and nothing is told of it.
    void become_template() {
        ahead_ = true;
        phase_ = agent_phase::idle;
    }
    /// Whether the scheduler is attached and stays so; false when it ended, then fault() says how.
    [[nodiscard]] bool rests() const {
        return phase_ == agent_phase::resting && !scheduler_.not_as_saved() && !lost_body_;
    }
    /// Why it can't be a template.
    [[nodiscard]] std::string fault() const {
        if (!fault_.empty())
            return fault_;
        return lost_body_ ? lost_body_->message : scheduler_.not_as_saved().value_or("");
    }
    /// It was saved, and this is a clone.
    void wake() {
        ahead_ = false;
        phase_ = agent_phase::greeting;
    }

    void on_frame(const wire::frame& f) {
        using wire::message_type;
        if (left())
            return;
        switch (f.type) {
            case message_type::welcome:
                return take<wire::welcome>(f, "a welcome");
            case message_type::run_test:
                return take<wire::run_test>(f, "an order to run a test");
            case message_type::run_command:
                return take<wire::run_command>(f, "an order to run a command");
            case message_type::input:
                return take<wire::input>(f, "input for a command");
            case message_type::window_size:
                return take<wire::window_size>(f, "a window's size");
            case message_type::ping:
                return take<wire::ping>(f, "a ping");
            case message_type::power_off:
                phase_ = agent_phase::left;
                return;
            default:
                leave("a message of type " + std::to_string(static_cast<unsigned>(f.type)) +
                      ", which no host may send");
        }
    }

    /// The host closed the link, or sent what is no frame; `fault` says what, empty: it is gone.
    void on_link_end(const std::string& fault) {
        if (left())
            return;
        if (!fault.empty())
            return leave(fault);
        phase_ = agent_phase::left;
    }

    void on_timer() {
        const auto now = deeds_.boot_ns();
        scheduler_.on_time(now);
        if (phase_ == agent_phase::body && scheduler_.to_be_judged(now)) {
            const auto words = scheduler_.unwanted_end().value_or("");
            scheduler_.judged();
            cut(reason::scheduler_exit, words);
        } else if (due_ns_ != 0 && due_ns_ <= now) {
            due_ns_ = 0;
            late();
        } else {
            (void)is_attached_unheard();
        }
        set_timer();
    }

    /// The process that waits for its body has become its program.
    void on_body_arrived() {
        if (phase_ == agent_phase::arriving)
            start_body();
    }

    /// The body's process has reported or is gone; `end` is what that means for a body that ran, and for one
    /// that never began why it can't.
    void on_body_end(wire::outcome end) {
        if (phase_ == agent_phase::body || phase_ == agent_phase::cutting)
            scheduler_.body_is_gone();
        switch (phase_) {
            case agent_phase::body:
                // The kernel's record of an end that has begun is on its way, and says more.
                if (scheduler_.record_is_due()) {
                    held_ = std::move(end);
                    phase_ = agent_phase::settling;
                    due_ns_ = deeds_.boot_ns() + scheduler_.leave_limit();
                    return set_timer();
                }
                return conclude(std::move(end));
            case agent_phase::cutting:
                return conclude(std::move(end));
            case agent_phase::arriving:
                return finish(std::move(end));
            default:
                lost_body_ = std::move(end);
        }
    }

    /// The scheduler's process has ended; `how` as in "was killed by SIGSEGV".
    void on_scheduler_end(const std::string& how) {
        const bool starting = phase_ == agent_phase::attaching;
        scheduler_.on_process_end(how, deeds_.boot_ns());
        // One that the kernel is taking off again has its record coming.
        if (starting && scheduler_.at() != scheduler_core::phase::leaving)
            return not_attached();
        settle();
        set_timer();
    }

    /// What the kernel says of its BPF schedulers, in its order.
    void on_scheduler_news(const scx_news& news) {
        const auto now = deeds_.boot_ns();
        switch (news.what) {
            case scx_news::kind::attached:
                if (scheduler_.on_attached(news.name, now) && phase_ == agent_phase::attaching)
                    return start_body();
                break;
            case scx_news::kind::leaving:
                scheduler_.on_leaving(now);
                break;
            case scx_news::kind::ended:
                scheduler_.on_ended(news.end, now);
                if (phase_ == agent_phase::attaching)
                    return not_attached();
                if (phase_ == agent_phase::arriving || phase_ == agent_phase::doubting)
                    return finish(reason::scheduler_exit, scheduler_.unwanted_end().value_or(""));
                settle();
                break;
        }
        set_timer();
    }

    // What a body asks of its scheduler; `asker` comes back with the answer.
    void on_ask_exit(std::uint64_t asker, std::uint64_t limit_ms) {
        scheduler_.ask_exit(asker, limit_ms * 1'000'000U, deeds_.boot_ns());
        set_timer();
    }
    void on_ask_deed(std::uint64_t asker, scheduler_deed what, int signal,
                     const std::string& staged = {}) {
        scheduler_.ask_deed(asker, what, signal, staged, deeds_.boot_ns());
        set_timer();
    }

    /// What becomes of one that is to take the scheduler's place; see scheduler_core.
    void on_newcomer_held() {
        scheduler_.on_newcomer_held(deeds_.boot_ns());
        set_timer();
    }
    void on_newcomer_end(const std::string& how) {
        scheduler_.on_newcomer_end(how);
        set_timer();
    }
    void on_retired_end() {
        scheduler_.on_retired_end();
        set_timer();
    }

    void on_command_end(int wait_status) {
        send(wire::exited{wait_status});
        if (phase_ == agent_phase::command)
            phase_ = agent_phase::idle;
    }

private:
    template <class... Messages>
    void send(const Messages&... messages) {
        if (!ahead_)
            deeds_.send({wire::frame{Messages::type, wire::encode(messages)}...});
    }

    /// Gives up this conversation, and says why where somebody will look: the host ends the machine otherwise
    /// without knowing what it did wrong.
    void leave(const std::string& what) {
        const auto words = "the host sent " + what + " (" + to_text(phase_) + ')';
        deeds_.complain(words);
        if (ahead_)
            fault_ = words;
        send(wire::log{words});
        phase_ = agent_phase::left;
    }

    template <class Message>
    void take(const wire::frame& f, const char* name) {
        if (auto message = wire::decode<Message>(f.payload))
            on(*std::move(message), name);
        else
            leave(std::string(name) + " that is malformed");
    }

    void on(const wire::welcome& welcome, const char* name) {
        if (phase_ != agent_phase::greeting)
            return leave(name);
        if (welcome.version != wire::protocol_version)
            return leave("a welcome of protocol " + std::to_string(welcome.version) +
                         ", and this guest speaks " + std::to_string(wire::protocol_version));
        phase_ = agent_phase::idle;
        if (welcome.wall_clock_ns != 0)
            deeds_.set_wall_clock(welcome.wall_clock_ns);
    }

    void on(wire::run_test&& order, const char* name) {
        if (phase_ != agent_phase::idle)
            return leave(name);
        const auto before = std::exchange(order_, std::move(order));
        if (ahead_)
            return prepare_scheduler();
        const auto wanted = parse_topology(order_.topology);
        if (!wanted)
            return finish(reason::infrastructure,
                          "the guest was asked for the topology '" + order_.topology + "'");
        if (order_.prove_topology) {
            enter(wire::guest_stage::proving_topology);
            const auto proof = deeds_.prove(*wanted, order_);
            send(proof);
            if (!proof.matches)
                return finish(reason::topology_mismatch, proof.difference);
        }
        // A clone is not proved again, its template was. It still counts its CPUs.
        if (const auto cpus = deeds_.online_cpus(); cpus && *cpus != wanted->total_cpus())
            return finish(reason::topology_mismatch, "the guest has " + std::to_string(*cpus) +
                                                         " CPUs and not " +
                                                         std::to_string(wanted->total_cpus()));
        // The clone of another template would test what nobody asked for.
        if (order_.attached != (scheduler_.at() != scheduler_core::phase::none) ||
            (order_.attached &&
             (order_.scheduler != before.scheduler || order_.sysctls != before.sysctls ||
              order_.scheduler_args != before.scheduler_args)))
            return finish(
                reason::infrastructure,
                "the scheduler that the machine's template has attached is not that of the test");
        if (order_.attached)
            return take_over();
        prepare_scheduler();
    }

    /// The scheduler is there since the template, which has to show before anything is tested with it.
    void take_over() {
        enter(wire::guest_stage::starting_scheduler);
        deeds_.repeat_first_words();
        scheduler_.woke(order_);
        const auto wrong = scheduler_.not_as_saved();
        if (!wrong)
            return start_body();
        if (!scheduler_.record_is_due())
            return finish(reason::scheduler_exit, *wrong);
        phase_ = agent_phase::doubting;
        due_ns_ = deeds_.boot_ns() + scheduler_.leave_limit();
        set_timer();
    }

    void prepare_scheduler() {
        for (const auto& one : order_.sysctls)
            if (auto set = deeds_.set_sysctl(one); !set)
                return finish(reason::infrastructure, set.error().message());
        if (auto switched = scheduler_.use_built_in(order_); !switched)
            return finish(reason::scheduler_attach, switched.error().message());
        if (order_.scheduler.empty())
            return start_body();
        enter(wire::guest_stage::starting_scheduler);
        phase_ = agent_phase::attaching;
        due_ns_ = deeds_.boot_ns() + order_.timeout_ms * 1'000'000U;
        if (auto started = scheduler_.start(order_, deeds_.boot_ns()); !started)
            return finish(reason::scheduler_attach, started.error().message());
        set_timer();
    }

    void on(const wire::run_command& order, const char* name) {
        if (phase_ != agent_phase::idle)
            return leave(name);
        if (auto started = deeds_.start_command(order); !started)
            return send(wire::log{started.error().message()}, wire::exited{127 << 8});
        phase_ = agent_phase::command;
    }

    // These may cross the end of the command that they are for.
    void on(const wire::input& input, const char*) {
        if (phase_ == agent_phase::command)
            deeds_.write_input(input.bytes);
    }
    void on(const wire::window_size& size, const char*) {
        if (phase_ == agent_phase::command)
            deeds_.resize(size);
    }
    void on(const wire::ping& ping, const char*) { send(wire::pong{ping.token}); }

    void enter(wire::guest_stage at) { send(wire::stage{at, deeds_.boot_ns()}); }

    void start_body() {
        if (ahead_) {
            phase_ = agent_phase::resting;
            due_ns_ = 0;
            return set_timer();
        }
        if (lost_body_)
            return finish(*std::move(lost_body_));
        phase_ = agent_phase::arriving;
        if (deeds_.body_is_elsewhere())
            return;
        enter(wire::guest_stage::body);
        if (auto begun = deeds_.begin_body(order_); !begun)
            return finish(reason::infrastructure, begun.error().message());
        phase_ = agent_phase::body;
        due_ns_ = deeds_.boot_ns() + order_.timeout_ms * 1'000'000U;
        set_timer();
    }

    /// The time of a phase is over.
    void late() {
        switch (phase_) {
            case agent_phase::body:
                return cut(reason::timeout, "the body did not return in " +
                                                std::to_string(order_.timeout_ms) + " ms");
            case agent_phase::attaching:
                if (is_attached_unheard())
                    return;
                finish(reason::scheduler_attach, scheduler_.why_not_attached() + " in " +
                                                     std::to_string(order_.timeout_ms) +
                                                     " ms; its process still runs");
                return deeds_.drop_scheduler();
            case agent_phase::settling:
                return conclude(*std::exchange(held_, std::nullopt));
            case agent_phase::doubting:
                return finish(reason::scheduler_exit, scheduler_.not_as_saved().value_or(""));
            default:
                return;
        }
    }

    /// Whatever became of the kernel's word for it (it may be lost when there are many): its state counts.
    bool is_attached_unheard() {
        if (!scheduler_.on_attached_unheard(deeds_.boot_ns()))
            return false;
        if (phase_ == agent_phase::attaching)
            start_body();
        return true;
    }

    /// A body that has ended waits for the kernel's record no longer than that takes.
    void settle() {
        if (phase_ == agent_phase::settling && !scheduler_.record_is_due())
            conclude(*std::exchange(held_, std::nullopt));
    }

    void not_attached() {
        finish(reason::scheduler_attach, scheduler_.why_not_attached());
        deeds_.drop_scheduler();
    }

    void conclude(wire::outcome end) {
        judge(end);
        finish(std::move(end));
        // What the body left running is part of the test and ends with it.
        deeds_.end_children();
    }

    /// Rings when the first of all that is waited for is due.
    void set_timer() {
        const bool over = phase_ == agent_phase::finished || left();
        const bool starting = scheduler_.at() == scheduler_core::phase::starting;
        const auto look = starting ? deeds_.boot_ns() + look_ns : 0;
        const auto next = over ? 0 : scheduler_.next(phase_ == agent_phase::body);
        const auto first = next == 0 || look == 0 ? next + look : std::min(next, look);
        const auto due = over                         ? 0
                         : due_ns_ == 0 || first == 0 ? due_ns_ + first
                                                      : std::min(due_ns_, first);
        const auto now = deeds_.boot_ns();
        deeds_.set_timer(due == 0 ? 0 : due > now ? due - now : 1, 0);
    }

    /// Ends the body. What it started ends once it is known to be dead itself.
    void cut(reason why, std::string words) {
        phase_ = agent_phase::cutting;
        due_ns_ = 0;
        cut_ = {why, std::move(words)};
        deeds_.kill_body();
    }

    void judge(wire::outcome& end) {
        // An attach of the body's own that failed is what its exception says. The newest words know most.
        if (const auto words = scheduler_.unwanted_end())
            cut_ = {reason::scheduler_exit, *words};
        if (cut_.first == reason::none)
            return;
        end.verdict = verdict::fail;
        end.reason = cut_.first;
        end.message = cut_.second;
    }

    void finish(wire::outcome end) {
        if (ahead_)
            fault_ = end.message;
        phase_ = agent_phase::finished;
        deeds_.set_timer(0, 0);
        const auto now = deeds_.boot_ns();
        if (const auto facts = scheduler_.facts())
            send(*facts);
        send(wire::stage{wire::guest_stage::collecting, now}, end,
             wire::stage{wire::guest_stage::done, now});
    }
    /// Without a body: a scheduler that does not run is the test's failure, all else is nobody's.
    void finish(reason why, std::string words) {
        finish({.verdict = verdict_of(why), .reason = why, .message = std::move(words)});
    }

    /// How often the kernel's state is looked at while a scheduler starts: a second witness of its attach,
    /// of which the kernel's event is the first.
    static constexpr std::uint64_t look_ns = 250'000'000;

    agent_deeds& deeds_;
    agent_phase phase_ = agent_phase::greeting;
    wire::run_test order_{};  ///< the test that runs or ran
    bool ahead_ = false;      ///< it attaches before it is saved, for its clones
    std::string fault_{};     ///< why that failed
    scheduler_core scheduler_{deeds_};
    std::uint64_t due_ns_ = 0;             ///< when the phase's time is over; 0: it has none
    std::optional<wire::outcome> held_{};  ///< in phase settling
    std::pair<reason, std::string> cut_{reason::none,
                                        {}};    ///< why the body was cut short; none: it was not
    std::optional<wire::outcome> lost_body_{};  ///< the waiting process ended before its body began
};

}  // namespace ktstr::guest
