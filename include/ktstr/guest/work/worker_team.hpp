// SPDX-License-Identifier: MIT
// The workers of one step: forks them, lets them go all at once, notices every death, stops them
// and says what each one did, in each phase of its work. The destructor leaves no process behind. Where the workers belong
// (which cgroup) is told to it, not done by it. Guest side.
#pragma once

#include <ktstr/base/unique_fd.hpp>
#include <ktstr/guest/work/worker_process.hpp>
#include <ktstr/linux/clock.hpp>
#include <ktstr/linux/exit_text.hpp>
#include <ktstr/scenario/report.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

namespace ktstr::guest {

/// Whose worker it is.
struct worker_place {
    std::string cgroup;
    int group = 0;
    int index = 0;
};

class worker_team {
public:
    using clock = std::chrono::steady_clock;

    /// Room for `workers` with so many phases together; none is started yet.
    [[nodiscard]] static result<worker_team> make(std::size_t workers, std::size_t phases) {
        auto board = worker_board::make(workers, phases);
        if (!board)
            return board.error();
        unique_fd ready{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
        if (!ready)
            return system_error("make an eventfd for", "the workers");
        make_room_for_descriptors(workers);
        return worker_team(*std::move(board), std::move(ready));
    }

    [[nodiscard]] static result<worker_team> make(std::size_t workers) {
        return make(workers, workers);
    }

    worker_team(worker_team&&) = default;
    worker_team& operator=(worker_team&&) = delete;
    ~worker_team() { kill_all(); }

    [[nodiscard]] result<pid_t> spawn(worker_place place, const work_kind& kind) {
        return spawn(std::move(place), work_spec{.kind = kind});
    }
    /// Forks a worker, which then waits at the gate. Those of one work group come in the order of their index.
    [[nodiscard]] result<pid_t> spawn(worker_place place, const work_spec& group) {
        const auto who = [&] {
            return "worker " + std::to_string(place.index) + " of cgroup " + place.cgroup;
        };
        const auto phases = std::max<std::size_t>(1, group.phases.size());
        if (members_.size() == board_.size() || phases_used_ + phases > board_.phases())
            return plain_error("start", who(), "the team is full");
        auto work = assign(place.index, group);
        if (!work)
            return work.error();
        auto& slot = board_.slot(members_.size());
        const pid_t parent = ::getpid();
        // A signal that reaches the worker before it has its own handlers would run the body's, or
        // kill it: SIGUSR1 means stop only from then on. worker_main lets them through.
        sigset_t all, before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        const pid_t pid = ::fork();
        const int fork_errno = errno;
        if (pid != 0)
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        errno = fork_errno;
        if (pid < 0)
            return system_error("start", who(),
                                errno == EAGAIN ? "pids.max or ulimit -u is reached" : "");
        if (pid == 0)
            detail::worker_main(*work, slot, board_.gate(), ready_.get(), parent);
        // In both processes: whoever comes first, kill(-pid) works from here on.
        ::setpgid(pid, pid);
        unique_fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        if (!pidfd) {
            auto fault = system_error("watch", who(), errno == EMFILE ? "raise ulimit -n" : "");
            kill_group(pid);
            ::waitpid(pid, nullptr, 0);
            return fault;
        }
        members_.push_back(
            {std::move(place), pid, std::move(pidfd), phases_used_, phases, {}, {}, {}, {}});
        phases_used_ += phases;
        return pid;
    }

    /// Waits until every worker stands at the gate or has died. False: the time ran out.
    [[nodiscard]] bool wait_until_ready(clock::time_point deadline) {
        for (;;) {
            if (std::all_of(members_.begin(), members_.end(),
                            [this](const member& m) { return m.ended() || stands_at_gate(m); }))
                return true;
            if (clock::now() >= deadline)
                return false;
            wait_for_news(deadline, ready_.get());
            drain_news();
        }
    }

    /// Lets all workers go. Their wall time counts from here, so that one that the scheduler does
    /// not run does not look as if it had started late: the moment that is returned.
    /// `at_rest` is called just before, while all of them wait.
    template <class AtRest>
    clock::time_point release(const AtRest& at_rest) {
        // They wait, so their accounts stand still. What a worker waits for a CPU once the gate is open counts.
        wait_until_asleep([this](const member& m) { return stands_at_gate(m); });
        at_rest();
        std::vector<kernel_account> before;
        for (const auto& m : members_)
            before.push_back(m.ended() ? kernel_account{} : read_kernel_account(m.pid));
        released_ns_ = now_ns(CLOCK_MONOTONIC);
        for (std::size_t i = 0; i < members_.size(); ++i)
            board_.slot(i).begin(0, released_ns_, before[i]);
        board_.gate().released_ns.store(released_ns_, std::memory_order_relaxed);
        auto& open = board_.gate().open;
        open.store(1, std::memory_order_release);
        detail::futex_wake_all(open);
        return clock::time_point(as_time(released_ns_));
    }
    clock::time_point release() {
        return release([] {});
    }

    /// Returns at `end` and not before; workers that die meanwhile are noted.
    void watch_until(clock::time_point end) {
        while (clock::now() < end)
            wait_for_news(end, -1);
    }

    /// Tells all workers to stop and waits for them until `limit`, then kills those that did not. `at_rest` is called
    /// when they have stopped and are still there.
    template <class AtRest>
    void stop(std::chrono::milliseconds limit, const AtRest& at_rest) {
        if (released_ns_ == 0)
            return kill_all();
        auto& word = board_.gate().stop;
        word.store(1, std::memory_order_release);
        detail::futex_wake_all(word);
        // Again and again: a signal that arrives just before a call that blocks interrupts nothing.
        const auto deadline = clock::now() + limit;
        for (auto next = clock::now(); clock::now() < deadline;) {
            if (std::all_of(members_.begin(), members_.end(),
                            [this](const member& m) { return m.ended() || is_finished(m); }))
                break;
            if (clock::now() >= next) {
                next += std::chrono::milliseconds(20);
                for (const auto& m : members_)
                    if (!m.ended() && !is_finished(m))
                        ::kill(m.pid, SIGUSR1);
            }
            wait_for_news(std::min(deadline, next), ready_.get());
            drain_news();
        }
        wait_until_asleep([this](const member& m) { return is_finished(m); });
        at_rest();
        const bool on_nodes = has_several_nodes();
        for (auto& m : members_)
            if (!m.ended() && is_finished(m)) {
                m.at_rest = read_kernel_account(m.pid);
                if (on_nodes)
                    m.pages_on_node = read_pages_on_nodes(m.pid);
            }
        for (auto& m : members_)
            if (!m.ended() && !is_finished(m)) {
                m.killed_after = limit;
                kill_group(m.pid);
            }
        auto& leave = board_.gate().leave;
        leave.store(1, std::memory_order_release);
        detail::futex_wake_all(leave);
        wait_for_ends(clock::now() + limit);
        for (auto& m : members_)
            if (!m.ended())
                m.killed_after = limit;
        kill_all();
    }
    void stop(std::chrono::milliseconds limit) {
        stop(limit, [] {});
    }

    /// Ends whatever is left, at once.
    void kill_all() {
        for (const auto& m : members_)
            if (!m.ended())
                kill_group(m.pid);
        // SIGKILL needs no cooperation; what takes longer hangs in the kernel and is reported.
        wait_for_ends(clock::now() + std::chrono::seconds(10));
    }

    /// Iterations of one worker (in the order of spawn), readable at any time.
    [[nodiscard]] std::uint64_t iterations(std::size_t worker) const {
        std::uint64_t all = 0;
        for (std::size_t i = 0; i < members_[worker].phases; ++i)
            all += board_.phase(members_[worker].first_phase + i).iterations.get();
        return all;
    }
    [[nodiscard]] std::size_t size() const { return members_.size(); }
    [[nodiscard]] std::size_t alive() const {
        return static_cast<std::size_t>(std::count_if(members_.begin(), members_.end(),
                                                      [](const member& m) { return !m.ended(); }));
    }

    /// What each did, in the order of spawn. At any time; complete after stop().
    [[nodiscard]] std::vector<worker_report> reports() const {
        std::vector<worker_report> all;
        for (std::size_t i = 0; i < members_.size(); ++i)
            all.push_back(report_of(members_[i], board_.slot(i)));
        return all;
    }

private:
    struct death {
        int status = 0;             // as wait4 gives it
        int wait_errno = 0;         // somebody else reaped it
        std::uint64_t seen_ns = 0;  // when we learned of it
        kernel_account account{};   // of one that could not say it itself
    };
    struct member {
        worker_place place;
        pid_t pid = -1;
        unique_fd pidfd;
        std::size_t first_phase = 0, phases = 1;  // on the board
        std::optional<death> end;
        std::optional<std::chrono::milliseconds> killed_after;
        std::optional<kernel_account> at_rest;  // of one that has finished
        std::vector<std::uint64_t> pages_on_node{};

        [[nodiscard]] bool ended() const { return end.has_value(); }
    };

    worker_team(worker_board board, unique_fd ready)
        : board_(std::move(board)), ready_(std::move(ready)) {}

    // One pidfd each; the usual soft limit of 1024 would be the limit of a scenario.
    static void make_room_for_descriptors(std::size_t workers) {
        rlimit limit{};
        if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
            return;
        const rlim_t wanted = workers + 256;
        if (limit.rlim_cur >= wanted)
            return;
        limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }

    // Those of whom it is true are about to block. One that gets no CPU for it is not waited for.
    template <class Which>
    void wait_until_asleep(const Which& which) const {
        const auto until = now_ns(CLOCK_MONOTONIC) + 1'000'000'000;
        for (const auto& m : members_)
            if (!m.ended() && which(m))
                guest::wait_until_asleep(m.pid, until);
    }
    void drain_news() const {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto drained = ::read(ready_.get(), &count, sizeof count);
    }
    [[nodiscard]] bool is_finished(const member& m) const {
        const auto i = static_cast<std::size_t>(&m - members_.data());
        return board_.slot(i).phase.load(std::memory_order_acquire) == worker_phase::finished;
    }
    [[nodiscard]] bool stands_at_gate(const member& m) const {
        const auto i = static_cast<std::size_t>(&m - members_.data());
        return board_.slot(i).phase.load(std::memory_order_acquire) != worker_phase::forked;
    }

    // The group, for what a worker has forked; the pid, in case it died before it had a group.
    static void kill_group(pid_t pid) {
        ::kill(-pid, SIGKILL);
        ::kill(pid, SIGKILL);
    }

    // Sleeps until the deadline, a worker's death or input on `fd`, and takes note of deaths.
    void wait_for_news(clock::time_point deadline, int fd) {
        std::vector<pollfd> watched;
        watched.reserve(members_.size() + 1);
        watched.push_back({fd, POLLIN, 0});
        for (const auto& m : members_)
            watched.push_back({m.ended() ? -1 : m.pidfd.get(), POLLIN, 0});
        const auto left = std::max(clock::duration::zero(), deadline - clock::now());
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
        const timespec timeout{seconds.count(), static_cast<long>((left - seconds).count())};
        if (::ppoll(watched.data(), watched.size(), &timeout, nullptr) <= 0)
            return;
        for (std::size_t i = 0; i < members_.size(); ++i)
            if (watched[i + 1].revents != 0)
                reap(members_[i]);
    }

    void wait_for_ends(clock::time_point deadline) {
        while (alive() > 0 && clock::now() < deadline)
            wait_for_news(deadline, -1);
    }

    static void reap(member& m) {
        // As long as nobody has waited for it, it has its files in /proc.
        const auto account = m.at_rest ? kernel_account{} : read_kernel_account(m.pid);
        int status = 0;
        const pid_t got = ::waitpid(m.pid, &status, WNOHANG);
        if (got == 0 || (got < 0 && errno == EINTR))
            return;
        m.end = death{status, got < 0 ? errno : 0, now_ns(CLOCK_MONOTONIC), account};
    }

    // What the worker does in each phase, and with whom: every so many members begin another crew.
    [[nodiscard]] result<assignment> assign(int index, const work_spec& group) {
        assignment all{.parts = {}, .index = index};
        if (index == 0)
            crews_of_group_.clear();
        const std::vector<work_phase> alone{{group.kind, {}}};
        const auto& phases = group.phases.empty() ? alone : group.phases;
        crews_of_group_.resize(phases.size());
        for (std::size_t i = 0; i < phases.size(); ++i) {
            const auto& kind = phases[i].kind;
            const int seat = index % kind.members();
            if (seat == 0) {
                crews_of_group_[i] = nullptr;
                if (kind.members() > 1) {
                    auto made = crew::make();
                    if (!made)
                        return made.error();
                    crews_.push_back(std::make_unique<crew>(*std::move(made)));
                    if (auto ready = prepare_work(kind, *crews_.back()); !ready)
                        return ready.error();
                    crews_of_group_[i] = crews_.back().get();
                }
            }
            all.parts.push_back({.kind = kind,
                                 .lasts_ns = static_cast<std::uint64_t>(phases[i].lasts.count()),
                                 .slot = &board_.phase(phases_used_ + i),
                                 .with = crews_of_group_[i],
                                 .member = seat});
        }
        return all;
    }

    [[nodiscard]] worker_report report_of(const member& m, const worker_slot& slot) const {
        worker_report report{
            .cgroup = m.place.cgroup, .group = m.place.group, .index = m.place.index, .pid = m.pid};
        const auto state = slot.phase.load(std::memory_order_acquire);
        const bool finished = state == worker_phase::finished;
        // Of the phase that it was in last.
        phase_slot rest;
        if (released_ns_ != 0) {
            const auto end = finished ? slot.finished_ns.load(std::memory_order_relaxed)
                             : m.end  ? m.end->seen_ns
                                      : now_ns(CLOCK_MONOTONIC);
            slot.settle(rest, end,
                        m.at_rest ? *m.at_rest
                        : m.end   ? m.end->account
                                  : read_kernel_account(m.pid));
        }
        for (std::size_t i = 0; i < m.phases; ++i) {
            const bool current = i == slot.at_phase.get();
            report.phases.push_back(
                account_of(board_.phase(m.first_phase + i), slot, current ? &rest : nullptr));
            if (current)
                report.phases.back().pages_on_node = m.pages_on_node;
            report.iterations += report.phases.back().iterations;
            report.cpu_time += report.phases.back().cpu_time;
            report.wall_time += report.phases.back().wall_time;
        }
        report.exit_status = exit_text(m, slot, finished);
        report.completed = report.exit_status.empty();
        return report;
    }

    [[nodiscard]] static work_account account_of(const phase_slot& told, const worker_slot& slot,
                                                 const phase_slot* rest) {
        const auto sum = [&](told_number phase_slot::*number) {
            return (told.*number).get() + (rest != nullptr ? (rest->*number).get() : 0);
        };
        work_account account;
        account.iterations = told.iterations.get();
        account.wall_time = as_time(sum(&phase_slot::wall_ns));
        account.cpu_time = as_time(sum(&phase_slot::cpu_ns));
        if (slot.known_schedstat.get() != 0)
            account.run_delay = as_time(sum(&phase_slot::run_delay_ns));
        if (slot.known_sched.get() != 0) {
            account.migrations = static_cast<double>(sum(&phase_slot::migrations));
            account.voluntary_switches = static_cast<double>(sum(&phase_slot::voluntary));
            account.involuntary_switches = static_cast<double>(sum(&phase_slot::involuntary));
        }
        account.deadlines = told.deadlines.get();
        account.missed_deadlines = told.missed_deadlines.get();
        for (std::size_t word = 0; word < phase_slot::cpu_words; ++word)
            for (int bit = 0; bit < 64; ++bit)
                if ((told.cpus[word].get() >> bit & 1U) != 0)
                    account.cpus.add(static_cast<int>(word) * 64 + bit);
        account.iteration_time = told.iteration_time.get();
        account.wake_latency = told.wake_latency.get();
        return account;
    }

    [[nodiscard]] static std::chrono::nanoseconds as_time(std::uint64_t ns) {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
    }
    [[nodiscard]] static std::string exit_text(const member& m, const worker_slot& slot,
                                               bool finished) {
        if (!m.end)
            return "still there after SIGKILL";
        if (m.end->wait_errno != 0)
            return finished
                       ? ""
                       : "its end was not seen: " + std::string(std::strerror(m.end->wait_errno));
        if (WIFSIGNALED(m.end->status)) {
            const int signal = WTERMSIG(m.end->status);
            if (signal == SIGKILL && m.killed_after)
                return "did not stop within " + std::to_string(m.killed_after->count()) +
                       " ms and was killed";
            return "killed by " + signal_text(signal);
        }
        const int status = WEXITSTATUS(m.end->status);
        if (slot.failure[0] != '\0')
            return std::string(slot.failure, ::strnlen(slot.failure, sizeof slot.failure));
        if (status != 0)
            return "exited with status " + std::to_string(status);
        return finished ? "" : "exited before it had finished";
    }

    worker_board board_;
    unique_fd ready_;
    std::vector<member> members_;
    std::vector<std::unique_ptr<crew>> crews_;
    std::vector<const crew*> crews_of_group_;  // of the work group being filled, by phase
    std::size_t phases_used_ = 0;
    std::uint64_t released_ns_ = 0;
};

}  // namespace ktstr::guest
