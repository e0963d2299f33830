// SPDX-License-Identifier: MIT
// The workers of one step: forks them, lets them go all at once, notices every death, stops them
// and says what each one did. The destructor leaves no process behind. Where the workers belong
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

    /// Room for `workers`; none is started yet.
    [[nodiscard]] static result<worker_team> make(std::size_t workers) {
        auto board = worker_board::make(workers);
        if (!board)
            return board.error();
        unique_fd ready{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
        if (!ready)
            return system_error("make an eventfd for", "the workers");
        make_room_for_descriptors(workers);
        return worker_team(*std::move(board), std::move(ready));
    }

    worker_team(worker_team&&) = default;
    worker_team& operator=(worker_team&&) = delete;
    ~worker_team() { kill_all(); }

    /// Forks a worker, which then waits at the gate.
    [[nodiscard]] result<pid_t> spawn(worker_place place, const work_kind& kind) {
        const auto who = [&] {
            return "worker " + std::to_string(place.index) + " of cgroup " + place.cgroup;
        };
        if (members_.size() == board_.size())
            return plain_error("start", who(), "the team is full");
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
            detail::worker_main(kind, slot, board_.gate(), ready_.get(), parent);
        // In both processes: whoever comes first, kill(-pid) works from here on.
        ::setpgid(pid, pid);
        unique_fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        if (!pidfd) {
            auto fault = system_error("watch", who(), errno == EMFILE ? "raise ulimit -n" : "");
            kill_group(pid);
            ::waitpid(pid, nullptr, 0);
            return fault;
        }
        members_.push_back({std::move(place), pid, std::move(pidfd), {}, {}});
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
            std::uint64_t count = 0;
            [[maybe_unused]] const auto drained = ::read(ready_.get(), &count, sizeof count);
        }
    }

    /// Lets all workers go. Their wall time counts from here, so that one that the scheduler does
    /// not run does not look as if it had started late.
    void release() {
        released_ns_ = now_ns(CLOCK_MONOTONIC);
        auto& open = board_.gate().open;
        open.store(1, std::memory_order_release);
        detail::futex_wake_all(open);
    }

    /// Returns at `end` and not before; workers that die meanwhile are noted.
    void watch_until(clock::time_point end) {
        while (clock::now() < end)
            wait_for_news(end, -1);
    }

    /// Tells all workers to stop and waits for them until `limit`, then kills those that did not.
    void stop(std::chrono::milliseconds limit) {
        if (released_ns_ == 0)
            return kill_all();
        auto& word = board_.gate().stop;
        word.store(1, std::memory_order_release);
        detail::futex_wake_all(word);
        for (const auto& m : members_)
            if (!m.ended())
                ::kill(m.pid, SIGUSR1);
        wait_for_ends(clock::now() + limit);
        for (auto& m : members_)
            if (!m.ended())
                m.killed_after = limit;
        kill_all();
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
        return board_.slot(worker).iterations.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t size() const { return members_.size(); }
    [[nodiscard]] std::size_t alive() const {
        return static_cast<std::size_t>(std::count_if(members_.begin(), members_.end(),
                                                      [](const member& m) { return !m.ended(); }));
    }

    /// What each did, in the order of spawn. Complete after stop().
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
        std::uint64_t cpu_ns = 0;
    };
    struct member {
        worker_place place;
        pid_t pid = -1;
        unique_fd pidfd;
        std::optional<death> end;
        std::optional<std::chrono::milliseconds> killed_after;

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
        int status = 0;
        rusage used{};
        const pid_t got = ::wait4(m.pid, &status, WNOHANG, &used);
        if (got == 0 || (got < 0 && errno == EINTR))
            return;
        const auto ns = [](const timeval& t) {
            return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
                   static_cast<std::uint64_t>(t.tv_usec) * 1'000U;
        };
        m.end = death{status, got < 0 ? errno : 0, now_ns(CLOCK_MONOTONIC),
                      ns(used.ru_utime) + ns(used.ru_stime)};
    }

    [[nodiscard]] worker_report report_of(const member& m, const worker_slot& slot) const {
        worker_report report{
            .cgroup = m.place.cgroup, .group = m.place.group, .index = m.place.index, .pid = m.pid};
        report.iterations = slot.iterations.load(std::memory_order_relaxed);
        const bool finished = slot.phase.load(std::memory_order_acquire) == worker_phase::finished;
        if (finished) {
            report.cpu_time = as_time(slot.cpu_ns.load(std::memory_order_relaxed));
            report.wall_time = since_release(slot.finished_ns.load(std::memory_order_relaxed));
        } else if (m.end) {
            report.cpu_time = as_time(m.end->cpu_ns);
            report.wall_time = since_release(m.end->seen_ns);
        }
        report.exit_status = exit_text(m, slot, finished);
        report.completed = report.exit_status.empty();
        return report;
    }

    [[nodiscard]] static std::chrono::nanoseconds as_time(std::uint64_t ns) {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
    }
    [[nodiscard]] std::chrono::nanoseconds since_release(std::uint64_t ns) const {
        return as_time(released_ns_ != 0 && ns > released_ns_ ? ns - released_ns_ : 0);
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
    std::uint64_t released_ns_ = 0;
};

}  // namespace ktstr::guest
