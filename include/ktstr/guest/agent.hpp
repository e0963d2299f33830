// SPDX-License-Identifier: MIT
// The guest's end of a test: says hello, proves the topology, runs the body, answers pings, reports
// the outcome. One thread, one poll loop, in a scheduling class that the scheduler under test can't
// starve. Runs as PID 1 in a guest, and as an ordinary process for host_only bodies, where it must
// touch nothing but its own children.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/body.hpp>
#include <ktstr/guest/command.hpp>
#include <ktstr/guest/link.hpp>
#include <ktstr/guest/probe/topology.hpp>
#include <ktstr/guest/scheduler.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/version.hpp>
#include <ktstr/wire/calibration.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

namespace ktstr::guest {

struct agent_options {
    bool is_init = true;  ///< PID 1 of a guest; otherwise a host_only body's keeper
};

/// The best of three runs of the calibration loop, ns.
[[nodiscard]] inline std::uint64_t calibrate() {
    std::uint64_t best = ~std::uint64_t{0};
    volatile std::uint64_t sink = 88172645463325252U;
    for (int i = 0; i < 3; ++i) {
        const auto begin = now_ns(CLOCK_MONOTONIC);
        sink = wire::calibration_loop(sink);
        best = std::min(best, now_ns(CLOCK_MONOTONIC) - begin);
    }
    return best;
}

class agent {
public:
    agent(link to_host, agent_options options) : link_(std::move(to_host)), options_(options) {}

    /// Does before a template is saved what every clone would have to do: takes its scheduling class,
    /// makes its descriptors, and forks the process that a body will run in.
    void make_ready() {
        harden();
        if (auto made = body_process::prepare())
            waiting_.emplace(std::move(*made));
        if (options_.is_init)
            seen_.emplace(read_machine("/sys"));
    }
    [[nodiscard]] const observed_machine& machine() {
        if (!seen_)
            seen_.emplace(read_machine("/sys"));
        return *seen_;
    }

    /// Bodies run in another program from now on: the one of `size` bytes on a clone's disk.
    void change_program(std::uint64_t size) {
        if (waiting_)
            waiting_->change_program(size);
    }

    /// Serves the host over another link, which a clone's first word came over.
    void serve(link to_host) {
        link_ = std::move(to_host);
        serve();
    }

    /// Serves the host until it says power_off or is gone.
    void serve() {
        if (!signals_)
            harden();
        if (kernel_words_)
            ::lseek(kernel_words_.get(), 0, SEEK_END);  // what was said before is no test's
        utsname names{};
        ::uname(&names);
        link_.send(wire::hello{.ktstr_version = std::string(version),
                               .kernel_release = names.release,
                               .boot_ns = now_ns(CLOCK_BOOTTIME),
                               .calibration_ns = calibrate()});
        while (!leaving_)
            turn();
        end_everything();
    }

private:
    /// SIGCHLD as a descriptor; a class that outranks whatever the body does to SCHED_EXT and CFS.
    /// Children fall back to SCHED_OTHER at fork.
    void harden() {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        ::sigprocmask(SIG_BLOCK, &set, nullptr);
        signals_ = unique_fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
        timer_ = unique_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
        ::signal(SIGPIPE, SIG_IGN);
        if (options_.is_init) {
            const sched_param priority{.sched_priority = 90};
            ::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority);
            kernel_words_ = unique_fd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        } else {
            ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        }
    }

    void turn() {
        std::array<pollfd, 10> fds{};
        std::size_t count = 0;
        const auto watch = [&](int fd) {
            fds[count] = {fd, POLLIN, 0};
            return count++;
        };
        const auto on_link = watch(link_.fd());
        const auto on_signal = watch(signals_.get());
        const auto on_timer = watch(timer_.get());
        const auto on_waiting = watch(waiting_ ? waiting_->report_fd() : -1);
        const auto on_report = watch(body_ ? body_->report_fd() : -1);
        const auto on_out = watch(body_ ? body_->out_fd() : -1);
        const auto on_err = watch(body_ ? body_->err_fd() : -1);
        const auto on_command = watch(command_ ? command_->output_fd() : -1);
        const auto on_command_errors = watch(command_ ? command_->errors_fd() : -1);
        const auto on_scheduler = watch(scheduler_ ? scheduler_->output_fd() : -1);
        if (::poll(fds.data(), count, -1) < 0)
            return;
        const auto ready = [&](std::size_t i) { return fds[i].revents != 0; };
        const auto send = [this](const auto& message) { link_.send(message); };

        if (waiting_ && ready(on_waiting)) {
            waiting_->pump_reports(send);
            if (body_due_)
                start_body();
        }
        // Reports before the end of their sender, output before the outcome.
        if (body_ && ready(on_report))
            body_->pump_reports(send);
        if (body_ && ready(on_out))
            body_->pump_output(wire::stream::out, send);
        if (body_ && ready(on_err))
            body_->pump_output(wire::stream::err, send);
        if (command_ && (ready(on_command) || ready(on_command_errors)))
            command_->pump_output(send);
        if (scheduler_ && ready(on_scheduler))
            scheduler_->pump_output(send);
        if (ready(on_signal) || (body_ && body_->reported()))
            reap();
        // Nothing of the body's process is worth waiting for once it has reported.
        if (body_ && body_->reported())
            body_ended(0);
        if (ready(on_timer))
            timer_expired();
        if (ready(on_link)) {
            if (!link_.receive()) {
                leaving_ = true;
                return;
            }
            while (auto f = link_.next())
                handle(*f);
            if (!link_.fault().empty())
                leaving_ = true;
        }
    }

    void handle(const wire::frame& f) {
        switch (f.type) {
            case wire::message_type::welcome:
                on_welcome(wire::decode<wire::welcome>(f.payload));
                break;
            case wire::message_type::run_test:
                on_run_test(wire::decode<wire::run_test>(f.payload));
                break;
            case wire::message_type::run_command:
                on_run_command(wire::decode<wire::run_command>(f.payload));
                break;
            case wire::message_type::input:
                if (auto in = wire::decode<wire::input>(f.payload); in && command_)
                    command_->write_input(in->bytes);
                break;
            case wire::message_type::window_size:
                if (auto size = wire::decode<wire::window_size>(f.payload); size && command_)
                    command_->resize(size->rows, size->columns);
                break;
            case wire::message_type::ping:
                if (auto ping = wire::decode<wire::ping>(f.payload))
                    link_.send(wire::pong{ping->token});
                break;
            default:
                leaving_ = true;
                break;  // power_off, or a message that only a guest may send
        }
    }

    void on_welcome(const std::optional<wire::welcome>& welcome) {
        if (!welcome || welcome->version != wire::protocol_version) {
            leaving_ = true;
            return;
        }
        if (!options_.is_init || welcome->wall_clock_ns == 0)
            return;
        const timespec host_time{static_cast<time_t>(welcome->wall_clock_ns / 1'000'000'000U),
                                 static_cast<long>(welcome->wall_clock_ns % 1'000'000'000U)};
        ::clock_settime(CLOCK_REALTIME, &host_time);
    }

    [[nodiscard]] static int online_cpus() {
        cpu_set_t set;
        return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    }

    void enter(wire::guest_stage at) { link_.send(wire::stage{at, now_ns(CLOCK_BOOTTIME)}); }

    void finish(wire::outcome end) {
        finished_ = true;
        ::timerfd_settime(timer_.get(), 0, &disarmed_, nullptr);
        const auto now = now_ns(CLOCK_BOOTTIME);
        link_.send(wire::stage{wire::guest_stage::collecting, now}, end,
                   wire::stage{wire::guest_stage::done, now});
    }

    void on_run_test(std::optional<wire::run_test> order) {
        if (!order || body_ || order_) {
            leaving_ = true;
            return;
        }
        order_ = std::move(order);
        const auto wanted = parse_topology(order_->topology);
        if (!wanted) {
            finish({.verdict = verdict::inconclusive,
                    .reason = reason::infrastructure,
                    .message = "the guest was asked for the topology '" + order_->topology + "'"});
            return;
        }
        if (order_->prove_topology) {
            enter(wire::guest_stage::proving_topology);
            const auto proof = prove(*wanted, order_->distances, machine());
            link_.send(proof);
            if (!proof.matches) {
                finish({.verdict = verdict::inconclusive,
                        .reason = reason::topology_mismatch,
                        .message = proof.difference});
                return;
            }
        }
        // A clone is not proved again, its template was. It still counts its CPUs.
        if (const int cpus = online_cpus(); options_.is_init && cpus != wanted->total_cpus()) {
            finish({.verdict = verdict::inconclusive,
                    .reason = reason::topology_mismatch,
                    .message = "the guest has " + std::to_string(cpus) + " CPUs and not " +
                               std::to_string(wanted->total_cpus())});
            return;
        }
        if (order_->scheduler.empty()) {
            start_body();
            return;
        }
        enter(wire::guest_stage::starting_scheduler);
        auto started = scheduler_process::start(order_->scheduler, order_->scheduler_args);
        if (!started) {
            finish({.verdict = verdict::fail,
                    .reason = reason::scheduler_exit,
                    .message = started.error().message()});
            return;
        }
        scheduler_.emplace(std::move(*started));
        deadline_ns_ = now_ns(CLOCK_MONOTONIC) + order_->timeout_ms * 1'000'000U;
        // sysfs announces no state change, so its file is read at short intervals until it says
        // "enabled"; a scheduler that exits ends the wait at once through SIGCHLD.
        arm_timer(2'000'000, 2'000'000);
    }

    void start_body() {
        body_due_ = true;
        if (waiting_ && waiting_->reported())
            return finish(waiting_->finish(0));  // it could not become the program
        if (waiting_ && !waiting_->arrived() && waiting_end_.empty())
            return;  // it is not yet the program that it is to become
        enter(wire::guest_stage::body);
        const auto failed = [this](const error& e) {
            finish({.verdict = verdict::inconclusive,
                    .reason = reason::infrastructure,
                    .message = e.message()});
        };
        if (!waiting_) {
            auto made = body_process::prepare();
            if (!made)
                return failed(made.error());
            waiting_.emplace(std::move(*made));
        }
        if (!waiting_end_.empty()) {
            waiting_->pump_output(wire::stream::err,
                                  [this](const auto& message) { link_.send(message); });
            return failed(plain_error("start", "the current test program", "it " + waiting_end_));
        }
        if (auto begun = waiting_->begin(*order_); !begun)
            return failed(begun.error());
        body_.emplace(*std::move(waiting_));
        waiting_.reset();
        arm_timer(order_->timeout_ms * 1'000'000U, 0);
    }

    void arm_timer(std::uint64_t first_ns, std::uint64_t interval_ns) {
        const auto spec = [](std::uint64_t ns) {
            return timespec{static_cast<time_t>(ns / 1'000'000'000U),
                            static_cast<long>(ns % 1'000'000'000U)};
        };
        const itimerspec t{spec(interval_ns), spec(first_ns)};
        ::timerfd_settime(timer_.get(), 0, &t, nullptr);
    }

    void timer_expired() {
        std::uint64_t times = 0;
        if (::read(timer_.get(), &times, sizeof times) < 0)
            return;
        if (body_) {
            // What the body started ends in body_ended(), once the body itself is known to be dead.
            timed_out_ = true;
            ::kill(body_->pid(), SIGKILL);
            return;
        }
        if (!scheduler_ || finished_)
            return;
        if (scheduler_->attached()) {
            start_body();
        } else if (now_ns(CLOCK_MONOTONIC) > deadline_ns_) {
            finish({.verdict = verdict::fail,
                    .reason = reason::scheduler_exit,
                    .message = "the scheduler " + order_->scheduler + " did not attach in " +
                               std::to_string(order_->timeout_ms) +
                               " ms (/sys/kernel/sched_ext/state is not 'enabled')"});
            scheduler_.reset();
        }
    }

    void reap() {
        // Everything that is known to have ended, before anything is concluded from it.
        signalfd_siginfo info{};
        while (::read(signals_.get(), &info, sizeof info) > 0) {
        }
        int status = 0;
        pid_t pid = 0;
        while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
            if (body_ && pid == body_->pid())
                body_ended(status);
            else if (waiting_ && pid == waiting_->pid())
                waiting_ended(status);
            else if (command_ && pid == command_->pid())
                command_ended(status);
            else if (scheduler_ && pid == scheduler_->pid())
                scheduler_ended(status);
        }
    }

    void waiting_ended(int status) {
        waiting_end_ = describe_end(status);
        waiting_->pump_reports([this](const auto& message) { link_.send(message); });
        if (body_due_)
            start_body();
    }

    /// Puts on the console what the kernel said during the body and may not have printed yet: the host ends
    /// the machine with the outcome. So such a line may be there twice.
    void repeat_kernel_words() {
        char record[8192];
        bool any = false;
        for (int records = 0; kernel_words_ && records < 256; ++records) {
            const auto n = ::read(kernel_words_.get(), record, sizeof record - 1);
            if (n < 0 && errno == EPIPE)
                continue;  // overwritten by newer ones
            if (n <= 0)
                break;
            record[n] = '\0';
            // "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS...;TEXT\n", then lines of a dictionary.
            const std::string_view all(record, static_cast<std::size_t>(n));
            unsigned priority = 0;
            unsigned long long microseconds = 0;
            const auto text = all.find(';');
            if (text == std::string_view::npos ||
                std::sscanf(record, "%u,%*u,%llu", &priority, &microseconds) != 2 ||
                (priority & 7U) > 4)  // the console's level: warnings and worse
                continue;
            const auto line = all.substr(text + 1, all.find('\n', text) - text - 1);
            std::fprintf(stderr, "[%5llu.%06llu] %.*s\n", microseconds / 1'000'000,
                         microseconds % 1'000'000, static_cast<int>(line.size()), line.data());
            any = true;
        }
        if (any)
            ::tcdrain(STDERR_FILENO);
    }

    void body_ended(int status) {
        repeat_kernel_words();
        const auto send = [this](const auto& message) { link_.send(message); };
        body_->pump_reports(send);
        auto end = body_->finish(status);
        if (timed_out_) {
            end.verdict = verdict::fail;
            end.reason = reason::timeout;
            end.message =
                "the body did not return in " + std::to_string(order_->timeout_ms) + " ms";
        }
        // The kernel throws a scheduler out before its process notices.
        if (scheduler_)
            if (const auto state = scheduler_process::state(); state != attached_state) {
                scheduler_died_ = true;
                scheduler_end_ = "the scheduler under test did not stay attached (" +
                                 std::string(sched_ext_state_path) + " is '" + state + "')";
            }
        if (scheduler_died_) {
            end.verdict = verdict::fail;
            end.reason = reason::scheduler_exit;
            end.message = scheduler_end_;
        }
        body_->pump_output(wire::stream::out, send);
        body_->pump_output(wire::stream::err, send);
        end.output_dropped = body_->output_dropped();
        body_.reset();
        finish(std::move(end));
        // What the body left running is part of the test and ends with it.
        kill_children();
    }

    void command_ended(int status) {
        command_->pump_output([this](const auto& message) { link_.send(message); });
        command_.reset();
        link_.send(wire::exited{status});
    }

    void scheduler_ended(int status) {
        scheduler_->pump_output([this](const auto& message) { link_.send(message); });
        scheduler_end_ = "the scheduler under test " + describe_end(status);
        scheduler_.reset();
        if (finished_ || timed_out_)
            return;
        scheduler_died_ = true;
        if (body_) {
            ::kill(body_->pid(), SIGKILL);
            return;
        }
        finish({.verdict = verdict::fail,
                .reason = reason::scheduler_exit,
                .message = scheduler_end_});
    }

    /// Ends every process of the test. PID 1 owns all there are; the keeper of a host_only body owns
    /// what it started, and as a subreaper inherits whatever that leaves behind, generation by
    /// generation, until the list is empty.
    void kill_children() {
        if (options_.is_init) {
            ::kill(-1, SIGKILL);
            return;
        }
        const auto path = "/proc/self/task/" + std::to_string(::getpid()) + "/children";
        for (int generation = 0; generation < 64; ++generation) {
            const auto children = read_kernel_file(path);
            std::string_view rest = children ? std::string_view(*children) : std::string_view{};
            bool any = false;
            while (const auto pid = detail::take_number(rest)) {
                any = true;
                ::kill(static_cast<pid_t>(*pid), SIGKILL);
                ::waitpid(static_cast<pid_t>(*pid), nullptr, 0);
            }
            if (!any)
                return;
        }
    }

    void end_everything() {
        kill_children();
        waiting_.reset();
        body_.reset();
        command_.reset();
        scheduler_.reset();
    }

    static constexpr itimerspec disarmed_{};

    link link_;
    agent_options options_;
    unique_fd signals_;
    unique_fd timer_;
    unique_fd kernel_words_;  ///< /dev/kmsg
    std::optional<wire::run_test> order_;
    std::optional<body_process> waiting_;  ///< forked, and not yet told which body it is
    std::optional<observed_machine> seen_;
    std::optional<body_process> body_;
    std::optional<command_process> command_;
    std::optional<scheduler_process> scheduler_;
    std::string scheduler_end_;
    std::string waiting_end_;  ///< how the waiting process ended, when it did
    std::uint64_t deadline_ns_ = 0;
    bool body_due_ = false;
    bool timed_out_ = false;
    bool scheduler_died_ = false;
    bool finished_ = false;
    bool leaving_ = false;

    void on_run_command(std::optional<wire::run_command> order) {
        if (!order || command_ || body_) {
            leaving_ = true;
            return;
        }
        auto started = command_process::start(*order);
        if (!started) {
            link_.send(wire::log{started.error().message()});
            link_.send(wire::exited{127 << 8});
            return;
        }
        command_.emplace(std::move(*started));
    }
};

}  // namespace ktstr::guest
