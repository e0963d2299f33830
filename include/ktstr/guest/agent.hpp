// SPDX-License-Identifier: MIT
// The guest's end of a test: says hello, proves the topology, runs the body, answers pings, reports
// the outcome. One thread, one poll loop, in a scheduling class that the scheduler under test can't
// starve; agent_core decides, this does. Runs as PID 1 in a guest, and as an ordinary process for
// host_only bodies, where it must touch nothing but its own children.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/agent_core.hpp>
#include <ktstr/guest/body.hpp>
#include <ktstr/guest/command.hpp>
#include <ktstr/guest/console.hpp>
#include <ktstr/guest/link.hpp>
#include <ktstr/guest/probe/topology.hpp>
#include <ktstr/guest/rest_watch.hpp>
#include <ktstr/guest/scheduler.hpp>
#include <ktstr/guest/scx_events.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/linux/marked_processes.hpp>
#include <ktstr/test/registry.hpp>
#include <ktstr/version.hpp>
#include <ktstr/wire/boot.hpp>
#include <ktstr/wire/calibration.hpp>
#include <ktstr/wire/message.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

class agent final : agent_deeds {
public:
    agent(link to_host, agent_options options) : link_(std::move(to_host)), options_(options) {}
    agent(const agent&) = delete;
    agent& operator=(const agent&) = delete;

    /// Does before a template is saved what every clone would have to do: takes its scheduling class,
    /// makes its descriptors, and forks the process that a body will run in.
    void make_ready() {
        harden();
        if (auto made = body_process::prepare())
            body_.emplace(std::move(*made));
        if (options_.is_init) {
            seen_.emplace(read_machine("/sys"));
            kernel_events_.arm();
        }
        repeat_silenced_words();
        ready_ = true;
    }
    [[nodiscard]] const observed_machine& machine() {
        if (!seen_)
            seen_.emplace(read_machine("/sys"));
        return *seen_;
    }

    /// Carries out of the host's next order what comes before a body: attaches its scheduler and lets the
    /// machine come to rest, to be saved then. Returns what the host is to know of that.
    [[nodiscard]] wire::settled attach_ahead(link to_host) {
        link_ = std::move(to_host);
        core_.become_template();
        keeps_words_ = true;
        skip_kernel_words();
        while (!core_.left() && core_.phase() != agent_phase::finished &&
               core_.phase() != agent_phase::resting)
            turn();
        wire::settled word;
        if (core_.rests())
            word.busy = rest();
        if (!core_.rests()) {
            word.fault = core_.fault();
            if (word.fault.empty())
                word.fault = "its scheduler did not stay attached";
        }
        keeps_words_ = false;
        // No clone hears what the kernel said of the attach, so the host has to, before it saves this.
        repeat_silenced_words();
        return word;
    }
    /// Gives the link away, until serve() gets that of a clone.
    [[nodiscard]] link leave_link() { return std::exchange(link_, link()); }

    /// Bodies run in another program from now on: the one of `size` bytes on a clone's disk.
    void change_program(std::uint64_t size) {
        if (body_)
            body_->change_program(size);
    }

    /// Serves the host over another link, which a clone's first word came over.
    void serve(link to_host) {
        link_ = std::move(to_host);
        core_.wake();
        serve();
    }

    /// Serves the host until it says power_off or is gone.
    void serve() {
        if (!signals_)
            harden();
        if (!ready_)
            repeat_silenced_words();
        skip_kernel_words();
        utsname names{};
        ::uname(&names);
        link_.send(wire::hello{.ktstr_version = std::string(version),
                               .kernel_release = names.release,
                               .boot_ns = now_ns(CLOCK_BOOTTIME),
                               .calibration_ns = calibrate()});
        while (!core_.left())
            turn();
        end_children();
    }

    /// What a body may ask its agent for, see answer_to().
    [[nodiscard]] scheduler_answer scheduler_facts() const {
        return {.state = scheduler_process::state(),
                .name = scheduler_process::name(),
                .partial = scheduler_process::partial(),
                .pid = scheduler_ ? std::optional<std::int32_t>(scheduler_->pid()) : std::nullopt};
    }

    /// A question of the body's, with a socket for its answer.
    void asked(datagram&& question) {
        const auto keep = [this, &question]() -> std::optional<std::uint64_t> {
            // Each holds a descriptor of PID 1's.
            if (askers_.size() >= 256) {
                reply(question, detail::to_datagram(refused{"256 others wait for an answer"}));
                return std::nullopt;
            }
            askers_.emplace_back(++last_asker_, std::move(question.reply));
            return last_asker_;
        };
        if (const auto wait = question.as<ask_exit>()) {
            if (const auto asker = keep())
                core_.on_ask_exit(*asker, std::min<std::uint64_t>(wait->limit_ms, 86'400'000));
            return;
        }
        if (const auto deed = question.as<ask_deed>();
            deed && deed->deed <= static_cast<std::uint8_t>(scheduler_deed::signal)) {
            if (const auto asker = keep())
                core_.on_ask_deed(*asker, static_cast<scheduler_deed>(deed->deed), deed->signal,
                                  deed->staged);
            return;
        }
        reply(question, answer_to(question, *this));
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
            watch_runner();
        }
    }

    /// A keeper ends with its runner, also where a process that the runner has forked still holds the other
    /// end of the link.
    void watch_runner() {
        ucred peer{};
        socklen_t size = sizeof peer;
        if (::getsockopt(link_.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
            return;
        runner_ = unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
        if (!runner_ && errno == ESRCH)
            core_.on_link_end({});
    }

    /// As wait_for_rest(), but that the scheduler is heard meanwhile: one that can't write does not run. Empty
    /// also when it did not stay attached.
    [[nodiscard]] std::string rest() {
        rest_watch watch;
        while (core_.rests()) {
            const auto end = now_ns(CLOCK_MONOTONIC) + rest_watch::moment_ns;
            for (auto now = end - rest_watch::moment_ns; now < end && core_.rests();
                 now = now_ns(CLOCK_MONOTONIC))
                turn(static_cast<int>((end - now + 999'999) / 1'000'000));
            if (const auto said = watch.look())
                return *said;
        }
        return {};
    }

    /// Waits for what happens next, at most so many milliseconds; -1: as long as it takes.
    void turn(int patience = -1) {
        std::array<pollfd, 18> fds{};
        std::size_t count = 0;
        const auto watch = [&](int fd) {
            fds[count] = {fd, POLLIN, 0};
            return count++;
        };
        const auto on_link = watch(link_.fd());
        const auto on_runner = watch(runner_ ? runner_.get() : -1);
        const auto on_signal = watch(signals_.get());
        const auto on_timer = watch(timer_.get());
        const auto on_report = watch(body_ ? body_->report_fd() : -1);
        // What a process writes before it is a body is shown when it turns out that it will be none.
        const bool running = body_ && body_->begun();
        const auto on_out = watch(running ? body_->out_fd() : -1);
        const auto on_err = watch(running ? body_->err_fd() : -1);
        const auto on_command = watch(command_ ? command_->output_fd() : -1);
        const auto on_command_errors = watch(command_ ? command_->errors_fd() : -1);
        const auto on_scheduler = watch(scheduler_ ? scheduler_->output_fd() : -1);
        const auto on_gate = watch(scheduler_ ? scheduler_->gate_fd() : -1);
        const auto on_newcomer = watch(newcomer_ ? newcomer_->output_fd() : -1);
        const auto on_newcomer_gate = watch(newcomer_ ? newcomer_->gate_fd() : -1);
        const auto on_retired = watch(retired_ ? retired_->output_fd() : -1);
        const auto on_uevent = watch(kernel_events_.uevent_fd());
        const auto on_trace = watch(kernel_events_.trace_fd());
        const auto on_dump = watch(kernel_events_.dump_fd());
        const auto on_log = watch(kernel_events_.log_fd());
        // Without an event for the last step of an end, its state is all there is to look at.
        if (::poll(fds.data(), count, kernel_events_.must_look() ? 5 : patience) < 0)
            return;
        const auto ready = [&](std::size_t i) { return fds[i].revents != 0; };

        if (ready(on_runner))
            return core_.on_link_end({});
        // Reports before the end of their sender, output before the outcome.
        if (ready(on_report)) {
            body_->pump_reports(send_, *this);
            if (body_->is_program())
                core_.on_body_arrived();
        }
        if (ready(on_out))
            body_->pump_output(wire::stream::out, send_);
        if (ready(on_err))
            body_->pump_output(wire::stream::err, send_);
        if (ready(on_command) || ready(on_command_errors))
            command_->pump_output(send_);
        if (ready(on_scheduler))
            pump_scheduler();
        if (ready(on_gate))
            scheduler_->pump_gate();
        if (ready(on_newcomer))
            newcomer_->pump_output(send_);
        if (ready(on_retired))
            retired_->pump_output(send_);
        // Last of the three: it may move them.
        if (ready(on_newcomer_gate) && newcomer_->pump_gate())
            core_.on_newcomer_held();
        if (ready(on_uevent) || ready(on_trace) || ready(on_dump) || ready(on_log) ||
            kernel_events_.must_look())
            hear_kernel();
        if (ready(on_signal) || (body_ && body_->reported()))
            reap();
        // Nothing of the body's process is worth waiting for once it has reported.
        if (body_ && body_->reported())
            body_ended(0);
        std::uint64_t rings = 0;
        if (ready(on_timer) && ::read(timer_.get(), &rings, sizeof rings) > 0)
            core_.on_timer();
        if (ready(on_link)) {
            if (!link_.receive())
                return core_.on_link_end({});
            while (auto f = link_.next())
                core_.on_frame(*f);
            if (!link_.fault().empty())
                core_.on_link_end(link_.fault());
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
            if (body_ && pid == body_->pid()) {
                body_ended(status);
            } else if (command_ && pid == command_->pid()) {
                command_->pump_output(send_);
                command_.reset();
                core_.on_command_end(status);
            } else if (scheduler_ && pid == scheduler_->pid()) {
                // What the kernel knows of it came first, and its own words explain its end.
                hear_kernel();
                pump_scheduler();
                forget_scheduler();
                auto how = exit_text(status);
                if (const auto oom = read_oom_kills();
                    WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && oom &&
                    oom_kills_before_ && *oom > *oom_kills_before_)
                    how += " because the guest ran out of memory";
                core_.on_scheduler_end(how);
            } else if (newcomer_ && pid == newcomer_->pid()) {
                newcomer_->pump_output(send_);
                core_.on_newcomer_end(exit_text(status));
                drop_output_of(newcomer_);
            } else if (retired_ && pid == retired_->pid()) {
                retired_->pump_output(send_);
                drop_output_of(retired_);
                core_.on_retired_end();
            }
        }
    }

    void hear_kernel() {
        kernel_events_.pump([this](const scx_news& news) {
            // Its last lines before what is concluded from its end.
            if (scheduler_)
                pump_scheduler();
            core_.on_scheduler_news(news);
        });
    }

    /// What it says goes to the host, and in a template is kept for the clones'.
    void pump_scheduler() {
        if (keeps_words_)
            scheduler_->pump_output(keeper{first_words_});
        else
            scheduler_->pump_output(send_);
    }

    /// Its process is gone; its words are kept for whoever asks why.
    void forget_scheduler() {
        scheduler_words_ = scheduler_->words();
        drop_output_of(scheduler_);
    }
    void drop_output_of(std::optional<scheduler_process>& gone) {
        if (gone)
            scheduler_dropped_ += gone->output_dropped();
        gone.reset();
    }

    void body_ended(int status) {
        hear_kernel();
        repeat_kernel_words();
        body_->pump_reports(send_, *this);
        wire::outcome end;
        if (body_->begun() || body_->reported()) {
            end = body_->finish(status);
        } else {
            const auto lost =
                plain_error("start", "the current test program", "it " + exit_text(status));
            end = {.verdict = verdict::inconclusive,
                   .reason = reason::infrastructure,
                   .message = lost.message()};
        }
        body_->pump_output(wire::stream::out, send_);
        body_->pump_output(wire::stream::err, send_);
        end.output_dropped = body_->output_dropped();
        body_.reset();
        core_.on_body_end(std::move(end));
    }

    /// What was said before now is no test's.
    void skip_kernel_words() {
        if (kernel_words_)
            ::lseek(kernel_words_.get(), 0, SEEK_END);
    }

    /// The host reads from the console how the boot went. Where the console was told to keep quiet, it is put
    /// there now.
    void repeat_silenced_words() {
        const auto level = read_kernel_file("/proc/sys/kernel/printk");
        if (level && std::strtoul(level->c_str(), nullptr, 10) < console_level)
            while (repeat_kernel_words()) {
            }
    }

    /// Puts on the console what the kernel said during the body and may not have printed yet: the host ends
    /// the machine with the outcome. So such a line may be there twice.
    /// False: there is no more.
    bool repeat_kernel_words() {
        char record[8192];
        bool any = false;
        int records = 0;
        for (; kernel_words_ && records < 256; ++records) {
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
                (priority & 7U) >= console_level)
                continue;
            const auto line = all.substr(text + 1, all.find('\n', text) - text - 1);
            std::fprintf(stderr, "[%5llu.%06llu] %.*s\n", microseconds / 1'000'000,
                         microseconds % 1'000'000, static_cast<int>(line.size()), line.data());
            any = true;
        }
        if (any)
            ::tcdrain(STDERR_FILENO);
        return records == 256;
    }

    // ---- what agent_core has done --------------------------------------------------------------

    void send(const std::vector<wire::frame>& frames) override { link_.send_all(frames); }
    void complain(const std::string& why) override { say(why); }
    [[nodiscard]] std::uint64_t boot_ns() const override { return now_ns(CLOCK_BOOTTIME); }

    void set_timer(std::uint64_t first_ns, std::uint64_t interval_ns) override {
        const itimerspec t{to_timespec(interval_ns), to_timespec(first_ns)};
        ::timerfd_settime(timer_.get(), 0, &t, nullptr);
    }

    void set_wall_clock(std::uint64_t ns) override {
        if (!options_.is_init)
            return;
        const auto host_time = to_timespec(ns);
        ::clock_settime(CLOCK_REALTIME, &host_time);
    }

    [[nodiscard]] wire::topology_proof prove(const topology& wanted,
                                             const wire::run_test& order) override {
        return guest::prove(wanted, order.distances, machine());
    }
    [[nodiscard]] std::optional<int> online_cpus() override {
        cpu_set_t set;
        if (!options_.is_init)
            return std::nullopt;
        return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    }

    [[nodiscard]] result<void> start_scheduler(const std::string& path,
                                               const std::vector<std::string>& args) override {
        kernel_events_.arm();
        scheduler_words_.clear();
        oom_kills_before_ = read_oom_kills();
        auto started = scheduler_process::start(path, args);
        if (!started)
            return std::move(started).error();
        scheduler_.emplace(std::move(*started));
        return {};
    }
    [[nodiscard]] result<void> start_newcomer(const std::string& path,
                                              const std::vector<std::string>& args) override {
        auto started = scheduler_process::start(path, args, true);
        if (!started)
            return std::move(started).error();
        newcomer_.emplace(std::move(*started));
        return {};
    }
    void hand_over() override {
        drop_retired();
        if (scheduler_)
            retired_.emplace(std::move(*scheduler_));
        scheduler_.reset();
        scheduler_words_.clear();
        oom_kills_before_ = read_oom_kills();
        scheduler_.emplace(std::move(*newcomer_));
        newcomer_.reset();
        scheduler_->open_gate();
    }
    void drop_newcomer() override { drop(newcomer_); }
    void drop_retired() override { drop(retired_); }
    void drop(std::optional<scheduler_process>& one) {
        if (one)
            ::kill(one->pid(), SIGKILL);
        drop_output_of(one);
    }
    [[nodiscard]] result<void> write_setting(const std::string& assignment) override {
        return guest::write_setting(assignment);
    }
    void signal_scheduler(int signal) override {
        if (scheduler_)
            ::kill(scheduler_->pid(), signal);
    }
    void drop_scheduler() override {
        if (!scheduler_)
            return;
        ::kill(scheduler_->pid(), SIGKILL);
        forget_scheduler();
    }
    [[nodiscard]] std::optional<std::string> scheduler_state() const override {
        return kernel_events_.armed() ? std::optional(scheduler_process::state()) : std::nullopt;
    }
    [[nodiscard]] std::string scheduler_ops() const override { return scheduler_process::name(); }
    [[nodiscard]] std::optional<bool> scheduler_is_partial() const override {
        return scheduler_process::partial();
    }
    [[nodiscard]] std::string scheduler_words() const override {
        return scheduler_ ? scheduler_->words() : scheduler_words_;
    }
    [[nodiscard]] std::string newcomer_words() const override {
        return newcomer_ ? newcomer_->words() : "";
    }
    [[nodiscard]] std::vector<std::string> scheduler_counters() const override {
        return scheduler_process::counters();
    }
    [[nodiscard]] std::uint64_t scheduler_output_dropped() const override {
        return scheduler_dropped_ + (scheduler_ ? scheduler_->output_dropped() : 0);
    }

    void answer_exit(std::uint64_t asker, const std::optional<scx_exit_record>& end) override {
        exit_answer answer{.ended = end.has_value()};
        if (end) {
            answer.kind = static_cast<std::uint8_t>(end->kind);
            answer.reason = end->reason;
            answer.message = end->message;
            answer.dump = end->dump;
            answer.code = end->code;
        }
        answer_asker(asker, answer);
    }
    void answer_done(std::uint64_t asker, std::uint64_t gap_ns) override {
        answer_asker(asker, deed_answer{.gap_ns = gap_ns});
    }
    void refuse(std::uint64_t asker, scheduler_error::cause why,
                const std::string& words) override {
        answer_asker(asker, deed_answer{.fault = words, .cause = static_cast<std::uint8_t>(why)});
    }
    template <class Answer>
    void answer_asker(std::uint64_t asker, const Answer& answer) {
        for (auto at = askers_.begin(); at != askers_.end(); ++at)
            if (at->first == asker) {
                reply({.reply = std::move(at->second)}, detail::to_datagram(answer));
                askers_.erase(at);
                return;
            }
    }

    [[nodiscard]] result<void> set_sysctl(const std::string& assignment) override {
        return guest::set_sysctl(assignment);
    }
    [[nodiscard]] bool body_is_elsewhere() const override { return body_ && !body_->is_program(); }
    [[nodiscard]] result<void> begin_body(const wire::run_test& order) override {
        if (!body_) {
            auto made = body_process::prepare();
            if (!made)
                return std::move(made).error();
            body_.emplace(std::move(*made));
        }
        return body_->begin(order);
    }
    void repeat_first_words() override {
        for (std::size_t at = 0; at < first_words_.size(); at += wire::output_chunk)
            link_.send(
                wire::output{wire::stream::err, first_words_.substr(at, wire::output_chunk)});
    }
    void kill_body() override {
        if (body_)
            ::kill(body_->pid(), SIGKILL);
    }

    /// Ends every process of the test: PID 1 owns all there are, the keeper of a host_only body what has
    /// its mark.
    void end_children() override {
        if (options_.is_init) {
            ::kill(-1, SIGKILL);
            return;
        }
        // The last one: a keeper may be the child of another keeper's body.
        std::string_view mark;
        for (char** entry = environ; *entry != nullptr; ++entry)
            if (const std::string_view text(*entry);
                text.starts_with(wire::keeper_variable) &&
                text.substr(std::strlen(wire::keeper_variable)).starts_with('='))
                mark = text;
        if (!mark.empty())
            kill_marked(mark);
        while (::waitpid(-1, nullptr, WNOHANG) > 0) {
        }
    }

    [[nodiscard]] result<void> start_command(const wire::run_command& order) override {
        auto started = command_process::start(order);
        if (!started)
            return std::move(started).error();
        command_.emplace(std::move(*started));
        return {};
    }
    void write_input(const std::string& bytes) override {
        if (command_)
            command_->write_input(bytes);
    }
    void resize(const wire::window_size& size) override {
        if (command_)
            command_->resize(size.rows, size.columns);
    }

    /// What the processes send on by themselves.
    struct sender {
        link& to;
        void operator()(const auto& message) const { to.send(message); }
    };

    struct keeper {
        std::string& kept;
        void operator()(const wire::output& output) const { kept += output.bytes; }
    };

    static constexpr unsigned console_level = 5;  ///< warnings and worse, as on the command line

    link link_;
    agent_options options_;
    bool ready_ = false;        ///< in a template, before it was saved
    bool keeps_words_ = false;  ///< in a template, while a scheduler is attached
    std::string first_words_;   ///< what it said then, at most max_scheduler_output
    agent_core core_{*this};
    sender send_{link_};
    unique_fd runner_;  ///< of a keeper: the process on the other end of the link
    unique_fd signals_;
    unique_fd timer_;
    unique_fd kernel_words_;                ///< /dev/kmsg
    std::optional<observed_machine> seen_;  ///< read once, in a template before it is saved
    std::optional<body_process> body_;      ///< forked, and perhaps not yet told which body it is
    std::optional<command_process> command_;
    std::optional<scheduler_process> scheduler_;
    std::optional<scheduler_process> newcomer_;      ///< held, to take its place
    std::optional<scheduler_process> retired_;       ///< whose place was taken, until it has ended
    std::string scheduler_words_;                    ///< of the last one, when it is gone
    std::optional<std::uint64_t> oom_kills_before_;  ///< of the guest's, when the last one started
    std::uint64_t scheduler_dropped_ = 0;            ///< bytes of output of those that are gone
    scx_events kernel_events_;
    std::vector<std::pair<std::uint64_t, unique_fd>> askers_;  ///< who waits for an answer
    std::uint64_t last_asker_ = 0;
};

}  // namespace ktstr::guest
