// SPDX-License-Identifier: MIT
// What the agent decides, as a state machine: the host's frames and the ends of its processes go in, in
// the order in which they happened, and every deed is one function of `agent_deeds`. No descriptor, no
// process and no clock of its own, so every order of events can be tried on a fake. Guest side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/check/verdict.hpp>
#include <ktstr/topology/topology.hpp>
#include <ktstr/wire/message.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::guest {

inline constexpr const char* sched_ext_state_path = "/sys/kernel/sched_ext/state";
inline constexpr std::string_view attached_state = "enabled";

/// Where an agent is in its one conversation with a host.
enum class agent_phase : std::uint8_t {
    greeting,   ///< it has said hello, or is about to
    idle,       ///< it waits for its order
    command,    ///< a command runs
    attaching,  ///< the scheduler under test has started and is not attached
    arriving,   ///< the body's process is not yet the program that it is to become
    body,       ///< the body runs
    cutting,    ///< the body was killed and is not yet gone
    finished,   ///< the outcome is sent
    left        ///< nothing more will be done
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
            return "while the scheduler starts";
        case agent_phase::arriving:
            return "before the body";
        case agent_phase::body:
        case agent_phase::cutting:
            return "while the body runs";
        case agent_phase::finished:
            return "after the outcome";
        case agent_phase::left:
            break;
    }
    return "at its end";
}

/// What an agent can do. The real one is `agent`.
class agent_deeds {
public:
    virtual ~agent_deeds() = default;

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

    [[nodiscard]] virtual result<void> start_scheduler(const wire::run_test& order) = 0;
    virtual void drop_scheduler() = 0;
    /// The kernel's word; nothing while no scheduler of the test's runs.
    [[nodiscard]] virtual std::optional<std::string> scheduler_state() const = 0;

    [[nodiscard]] virtual bool body_is_elsewhere()
        const = 0;  ///< its process is not yet its program
    [[nodiscard]] virtual result<void> begin_body(const wire::run_test& order) = 0;
    virtual void kill_body() = 0;
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
        if (phase_ == agent_phase::body)
            return cut(reason::timeout,
                       "the body did not return in " + std::to_string(order_.timeout_ms) + " ms");
        if (phase_ != agent_phase::attaching)
            return;
        if (deeds_.scheduler_state() == attached_state) {
            deeds_.set_timer(0, 0);
            return start_body();
        }
        if (deeds_.boot_ns() < attach_until_ns_)
            return;
        finish(reason::scheduler_exit, "the scheduler " + order_.scheduler + " did not attach in " +
                                           std::to_string(order_.timeout_ms) + " ms (" +
                                           sched_ext_state_path + " is not '" +
                                           std::string(attached_state) + "')");
        deeds_.drop_scheduler();
    }

    /// The process that waits for its body has become its program.
    void on_body_arrived() {
        if (phase_ == agent_phase::arriving)
            start_body();
    }

    /// The body's process has reported or is gone; `end` is what that means for a body that ran, and for one
    /// that never began why it can't.
    void on_body_end(wire::outcome end) {
        switch (phase_) {
            case agent_phase::body:
            case agent_phase::cutting:
                judge(end);
                finish(std::move(end));
                // What the body left running is part of the test and ends with it.
                return deeds_.end_children();
            case agent_phase::arriving:
                return finish(std::move(end));
            default:
                lost_body_ = std::move(end);
        }
    }

    /// The scheduler under test has ended; `how` as in "was killed by SIGSEGV".
    void on_scheduler_end(const std::string& how) {
        const auto words = "the scheduler under test " + how;
        switch (phase_) {
            case agent_phase::body:
                return cut(reason::scheduler_exit, words);
            case agent_phase::attaching:
            case agent_phase::arriving:
                return finish(reason::scheduler_exit, words);
            default:
                return;
        }
    }

    void on_command_end(int wait_status) {
        send(wire::exited{wait_status});
        if (phase_ == agent_phase::command)
            phase_ = agent_phase::idle;
    }

private:
    template <class... Messages>
    void send(const Messages&... messages) {
        deeds_.send({wire::frame{Messages::type, wire::encode(messages)}...});
    }

    /// Gives up this conversation, and says why where somebody will look: the host ends the machine otherwise
    /// without knowing what it did wrong.
    void leave(const std::string& what) {
        const auto words = "the host sent " + what + " (" + to_text(phase_) + ')';
        deeds_.complain(words);
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
        order_ = std::move(order);
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
        if (order_.scheduler.empty())
            return start_body();
        enter(wire::guest_stage::starting_scheduler);
        if (auto started = deeds_.start_scheduler(order_); !started)
            return finish(reason::scheduler_exit, started.error().message());
        phase_ = agent_phase::attaching;
        attach_until_ns_ = deeds_.boot_ns() + order_.timeout_ms * 1'000'000U;
        // sysfs announces no state change, so its file is read at short intervals until it says
        // "enabled"; a scheduler that exits ends the wait at once through SIGCHLD.
        deeds_.set_timer(2'000'000, 2'000'000);
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
        if (lost_body_)
            return finish(*std::move(lost_body_));
        phase_ = agent_phase::arriving;
        if (deeds_.body_is_elsewhere())
            return;
        enter(wire::guest_stage::body);
        if (auto begun = deeds_.begin_body(order_); !begun)
            return finish(reason::infrastructure, begun.error().message());
        phase_ = agent_phase::body;
        deeds_.set_timer(order_.timeout_ms * 1'000'000U, 0);
    }

    /// Ends the body. What it started ends once it is known to be dead itself.
    void cut(reason why, std::string words) {
        phase_ = agent_phase::cutting;
        cut_ = {why, std::move(words)};
        deeds_.kill_body();
    }

    void judge(wire::outcome& end) {
        // The kernel throws a scheduler out before its process notices.
        if (const auto state = deeds_.scheduler_state(); state && *state != attached_state)
            cut_ = {reason::scheduler_exit, "the scheduler under test did not stay attached (" +
                                                std::string(sched_ext_state_path) + " is '" +
                                                *state + "')"};
        if (cut_.first == reason::none)
            return;
        end.verdict = verdict::fail;
        end.reason = cut_.first;
        end.message = cut_.second;
    }

    void finish(wire::outcome end) {
        phase_ = agent_phase::finished;
        deeds_.set_timer(0, 0);
        const auto now = deeds_.boot_ns();
        send(wire::stage{wire::guest_stage::collecting, now}, end,
             wire::stage{wire::guest_stage::done, now});
    }
    /// Without a body: a scheduler that does not run is the test's failure, all else is nobody's.
    void finish(reason why, std::string words) {
        finish({.verdict = why == reason::scheduler_exit ? verdict::fail : verdict::inconclusive,
                .reason = why,
                .message = std::move(words)});
    }

    agent_deeds& deeds_;
    agent_phase phase_ = agent_phase::greeting;
    wire::run_test order_{};             ///< the test that runs or ran
    std::uint64_t attach_until_ns_ = 0;  ///< in phase attaching
    std::pair<reason, std::string> cut_{reason::none,
                                        {}};    ///< why the body was cut short; none: it was not
    std::optional<wire::outcome> lost_body_{};  ///< the waiting process ended before its body began
};

}  // namespace ktstr::guest
